/** Prints a trace as a tree: each span is below its caller's span, in the order of their starts. */
import type { Span } from './aggregator/trace.ts';

export function treeOf(spans: readonly Span[]): string {
  const ids = new Set(spans.map(({ spanId }) => spanId));
  const rows: { label: string; span: Span }[] = [];

  function add(siblings: readonly Span[], indent: string, isTop: boolean): void {
    for (const [index, span] of siblings.toSorted((a, b) => a.startMs - b.startMs).entries()) {
      const isLast = index === siblings.length - 1;
      const branch = isTop ? '' : isLast ? '└─ ' : '├─ ';
      rows.push({ label: `${indent}${branch}${span.service}: ${span.name} ${span.about ?? ''}`.trimEnd(), span });
      const below = spans.filter(({ parentId }) => parentId === span.spanId);
      add(below, isTop ? indent : `${indent}${isLast ? '   ' : '│  '}`, false);
    }
  }
  add(
    spans.filter(({ parentId }) => !ids.has(parentId)),
    '',
    true,
  );

  const width = Math.max(...rows.map(({ label }) => label.length));
  return rows
    .map(({ label, span: { durationMs, deadlineMs, status } }) => {
      const left = deadlineMs === undefined ? '' : ` of ${Math.round(deadlineMs)}`;
      const failed = status === 'OK' ? '' : `, ${status}`;
      return `${label.padEnd(width)} ${durationMs.toFixed(1).padStart(7)}${left} ms${failed}`;
    })
    .join('\n');
}
