import * as React from 'react';

import { duration } from '../format';
import type { CellEvent } from '../model';

const WIDTH = 200;
const HEIGHT = 12;

/** How long each cell took, as a bar chart that is a table as well. */
export function Timing({ cells }: { cells: CellEvent[] }): React.ReactElement {
  if (cells.length === 0) {
    return <p className="hm-Quiet hm-Pad">No cell has run.</p>;
  }
  const longest = Math.max(...cells.map(cell => cell.seconds ?? 0), 0.001);
  const total = cells.reduce((sum, cell) => sum + (cell.seconds ?? 0), 0);
  return (
    <div className="hm-Pad">
      <table className="hm-Table hm-Timing">
        <caption>
          {duration(total)} in {cells.length} {cells.length === 1 ? 'cell' : 'cells'}
        </caption>
        <thead>
          <tr>
            <th scope="col">Cell</th>
            <th scope="col">Code</th>
            <th scope="col">Time</th>
            <th scope="col">
              <span className="hm-Hidden">Share of the longest</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {cells.map(cell => (
            <tr key={cell.index} className={`hm-mod-${cell.state}`}>
              <th scope="row">{cell.index + 1}</th>
              <td className="hm-Timing-name">
                <code>{cell.name}</code>
              </td>
              <td className="hm-Timing-time">{time(cell)}</td>
              <td>
                <Bar share={(cell.seconds ?? 0) / longest} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Bar({ share }: { share: number }): React.ReactElement {
  return (
    <svg
      className="hm-Bar"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      width={WIDTH}
      height={HEIGHT}
      role="img"
      aria-label={`${Math.round(share * 100)} % of the longest cell`}
    >
      <rect className="hm-Bar-track" width={WIDTH} height={HEIGHT} rx="2" />
      <rect className="hm-Bar-fill" width={Math.max(share * WIDTH, 1)} height={HEIGHT} rx="2" />
    </svg>
  );
}

function time(cell: CellEvent): string {
  if (cell.state === 'running') {
    return 'running';
  }
  const text = cell.seconds === null ? '' : duration(cell.seconds);
  return cell.state === 'failed' ? `${text} failed` : text;
}
