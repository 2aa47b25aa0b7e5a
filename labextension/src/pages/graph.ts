import type { Graph } from '../model';

/** Order a graph's nodes so that each comes after all that it waits for. */
export function inOrder(graph: Graph): { node: Graph['nodes'][number]; depth: number }[] {
  const depths = new Map(graph.nodes.map(node => [node.workload_id, 0]));
  for (let round = 0; round < graph.nodes.length; round++) {
    for (const { upstream, downstream } of graph.edges) {
      const depth = (depths.get(upstream) ?? 0) + 1;
      if (depth > (depths.get(downstream) ?? 0) && depth < graph.nodes.length) {
        depths.set(downstream, depth);
      }
    }
  }
  return graph.nodes
    .map(node => ({ node, depth: depths.get(node.workload_id) ?? 0 }))
    .sort((one, two) => one.depth - two.depth);
}
