import * as React from 'react';

import { bytes } from '../format';
import { useHost } from '../host';
import { Output, Run } from '../model';

const ROLES: Record<Output['role'], string> = {
  notebook: 'Executed notebook',
  export: 'Report',
  file: 'File'
};
const IN_THE_BROWSER = /^(text\/|image\/|application\/(pdf|json))/;

/** The files that a run left. */
export function OutputList(props: {
  run: Run;
  outputs: Output[];
  isComplete: boolean;
}): React.ReactElement {
  const { api } = useHost();
  const { run, outputs } = props;
  if (outputs.length === 0) {
    return (
      <p className="hm-Quiet hm-Pad">
        {props.isComplete ? 'The run left no files.' : 'Files appear when the run has ended.'}
      </p>
    );
  }
  return (
    <div className="hm-Pad">
      <table className="hm-Table">
        <thead>
          <tr>
            <th scope="col">Name</th>
            <th scope="col">What it is</th>
            <th scope="col">Size</th>
            <th scope="col">
              <span className="hm-Hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {outputs.map(output => (
            <tr key={output.name}>
              <th scope="row" className="hm-Table-name">
                {output.name}
              </th>
              <td>{ROLES[output.role]}</td>
              <td>{bytes(output.size_bytes)}</td>
              <td className="hm-Table-actions">
                {IN_THE_BROWSER.test(output.media_type) && (
                  <a
                    href={api.outputUrl(run.id, output.name, false)}
                    target="_blank"
                    rel="noopener noreferrer"
                    aria-label={`Open ${output.name} in a new tab`}
                  >
                    Open
                  </a>
                )}
                <a
                  href={api.outputUrl(run.id, output.name, true)}
                  aria-label={`Download ${output.name}`}
                  download
                >
                  Download
                </a>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
