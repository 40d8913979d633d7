/** Draws line charts as SVG for docs/benchmarks.md. It is small enough not to need a library. */

export interface Plot {
  readonly title: string;
  readonly x: Axis;
  readonly y: Axis;
  readonly lines: readonly { readonly name: string; readonly points: readonly (readonly [x: number, y: number])[] }[];
}

interface Axis {
  readonly label: string;
  /** Base 2 on x, base 10 on y. */
  readonly isLogarithmic?: true;
}

const [width, height] = [720, 360];
const area = { left: 70, right: 560, top: 40, bottom: 310 };
// Okabe and Ito's colours, which colour-blind readers can distinguish.
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000', '#999999'];

export function drawPlot({ title, x, y, lines }: Plot): string {
  const points = lines.flatMap((line) => line.points).filter(isFinitePoint);
  const xs = scale(
    x,
    2,
    points.map(([value]) => value),
    area.left,
    area.right,
  );
  const ys = scale(
    y,
    10,
    points.map(([, value]) => value),
    area.bottom,
    area.top,
  );
  const text = (left: number, top: number, content: string, more = '') =>
    `<text x="${left}" y="${top}" ${more}>${escapeText(content)}</text>`;
  const rule = (x1: number, y1: number, x2: number, y2: number) =>
    `<line x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}" stroke="#ddd"/>`;
  const parts = [
    text(area.left, 24, title, 'font-size="15" font-weight="bold"'),
    text((area.left + area.right) / 2, height - 12, x.label, 'text-anchor="middle"'),
    text(
      14,
      (area.top + area.bottom) / 2,
      y.label,
      `text-anchor="middle" transform="rotate(-90 14 ${(area.top + area.bottom) / 2})"`,
    ),
    ...xs.ticks.map((tick) => rule(xs.place(tick), area.top, xs.place(tick), area.bottom)),
    ...ys.ticks.map((tick) => rule(area.left, ys.place(tick), area.right, ys.place(tick))),
    ...xs.ticks.map((tick) => text(xs.place(tick), area.bottom + 18, short(tick), 'text-anchor="middle"')),
    ...ys.ticks.map((tick) => text(area.left - 8, ys.place(tick) + 4, short(tick), 'text-anchor="end"')),
    ...lines.flatMap((line, index) => {
      const colour = colours[index % colours.length];
      const places = line.points.filter(isFinitePoint).map(([px, py]) => [xs.place(px), ys.place(py)] as const);
      const top = area.top + 10 + index * 20;
      return [
        `<polyline fill="none" stroke="${colour}" stroke-width="2" points="${places.map((place) => place.join(',')).join(' ')}"/>`,
        ...(places.length > 40
          ? []
          : places.map(([px, py]) => `<circle cx="${px}" cy="${py}" r="3" fill="${colour}"/>`)),
        `<line x1="${area.right + 14}" y1="${top - 4}" x2="${area.right + 32}" y2="${top - 4}" stroke="${colour}" stroke-width="3"/>`,
        text(area.right + 38, top, line.name),
      ];
    }),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12" fill="#222">
<title>${escapeText(title)}</title>
<rect width="${width}" height="${height}" fill="#fff"/>
${parts.join('\n')}
</svg>
`;
}

function isFinitePoint(point: readonly [number, number]): boolean {
  return point.every(Number.isFinite);
}

/** Maps values to positions between `from` and `to`, and picks round values for labels. Linear axes begin at 0. */
function scale({ isLogarithmic }: Axis, base: number, values: readonly number[], from: number, to: number) {
  const most = Math.max(...values, 0) || 1;
  const round = (value: number) => Math.round(value * 10) / 10;
  if (isLogarithmic) {
    const log = (value: number) => Math.log(Math.max(value, Number.MIN_VALUE)) / Math.log(base);
    const low = Math.floor(log(Math.min(...values, most)));
    const high = Math.max(low + 1, Math.ceil(log(most)));
    const ticks = Array.from({ length: high - low + 1 }, (_, index) => base ** (low + index));
    return { ticks, place: (value: number) => round(from + ((log(value) - low) / (high - low)) * (to - from)) };
  }
  const rough = most / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough) ?? 10);
  const ticks = Array.from({ length: Math.ceil(most / step) + 1 }, (_, index) => index * step);
  return { ticks, place: (value: number) => round(from + (value / (ticks.at(-1) ?? 1)) * (to - from)) };
}

function short(value: number): string {
  return value >= 10_000 ? `${value / 1000}k` : String(Number(value.toPrecision(6)));
}

function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
