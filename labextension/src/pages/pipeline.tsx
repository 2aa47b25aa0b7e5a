import * as React from 'react';

import { useHost } from '../host';
import type { Graph } from '../model';
import { StatusBadge } from '../parts';
import { inOrder } from './graph';

const WHEN = { success: 'when it succeeds', failure: 'when it fails', end: 'when it ends' };

/** The jobs around one job, each with what it waits for; nothing where there are none. */
export function Pipeline({ jobId }: { jobId: string }): React.ReactElement | null {
  const { api, openRun, openForm } = useHost();
  const [graph, setGraph] = React.useState<Graph | null>(null);
  React.useEffect(() => {
    let isCurrent = true;
    api.graph(jobId).then(
      loaded => isCurrent && setGraph(loaded),
      () => isCurrent && setGraph(null)
    );
    return () => {
      isCurrent = false;
    };
  }, [api, jobId]);
  if (!graph || graph.nodes.length < 2) {
    return null;
  }
  const names = new Map(graph.nodes.map(node => [node.workload_id, node.name]));
  return (
    <section aria-labelledby={`${jobId}-pipeline`}>
      <h2 id={`${jobId}-pipeline`}>Pipeline</h2>
      <ol className="hm-Pipeline">
        {inOrder(graph).map(({ node, depth }) => (
          <li
            key={node.workload_id}
            className={node.workload_id === jobId ? 'hm-mod-current' : ''}
            style={{ marginLeft: `${depth * 24}px` }}
          >
            <button
              type="button"
              className="hm-Item-name"
              onClick={() =>
                node.run_id ? openRun(node.run_id) : openForm({ jobId: node.workload_id })
              }
            >
              {node.name}
            </button>
            {node.status && <StatusBadge status={node.status} />}
            {graph.edges
              .filter(edge => edge.downstream === node.workload_id)
              .map(edge => (
                <span key={edge.upstream} className="hm-Quiet">
                  after {names.get(edge.upstream)}, {WHEN[edge.on]}
                </span>
              ))}
          </li>
        ))}
      </ol>
    </section>
  );
}
