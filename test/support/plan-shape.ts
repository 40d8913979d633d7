/** Describes a plan of Postgres by its nodes, relations and indexes, without its costs and conditions. */

/** A node of EXPLAIN's JSON format: https://www.postgresql.org/docs/18/using-explain.html */
export interface PlanNode {
  'Node Type': string;
  Operation?: string;
  'Relation Name'?: string;
  'Index Name'?: string;
  'CTE Name'?: string;
  'Function Name'?: string;
  'Subplan Name'?: string;
  'Conflict Arbiter Indexes'?: string[];
  Plans?: PlanNode[];
}

/** One line for each node, indented by its level. */
export function planShape(node: PlanNode, level = 0): string {
  const source = node['Relation Name'] ?? node['CTE Name'] ?? node['Function Name'];
  const index = node['Index Name'] ?? node['Conflict Arbiter Indexes']?.join(', ');
  const line = [
    node['Subplan Name'] && `${node['Subplan Name']}:`,
    node.Operation ?? node['Node Type'],
    source && `on ${source}`,
    index && `using ${index}`,
  ].filter(Boolean);
  const children = (node.Plans ?? []).map((child) => planShape(child, level + 1));
  return `${'  '.repeat(level)}${line.join(' ')}\n${children.join('')}`;
}
