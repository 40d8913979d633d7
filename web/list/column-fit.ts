/** Measures how wide columns must be for the texts in their cells and for their titles. */
import type { User } from '../../generated/users/v1/user.js';
import type { Column, ColumnWidths } from './columns.js';

/** Narrower columns could not show their menu, and a single long text needs no wider one. */
const fitPxMin = 64;
const fitPxMax = 320;

/** The avatar and the space after it (grid.css). */
const avatarPx = 44;
/** The spaces around a title, and its menu. */
const menuPx = 36;
/** The arrow beside the title of the column that sorts, and the name that it is sorted by. */
const arrowPx = 16;

/** `grid` is the element whose cells have the fonts. */
export function measureColumns(columns: readonly Column[], users: readonly User[], grid: HTMLElement): ColumnWidths {
  // Unlike a cell that is added for this, a canvas does not make the browser lay out the rows again.
  const context = document.createElement('canvas').getContext('2d');
  if (context === null) return {};
  const widest = (texts: readonly string[], selector: string) => {
    const { fontStyle, fontWeight, fontSize, fontFamily } = getComputedStyle(grid.querySelector(selector) ?? grid);
    context.font = `${fontStyle} ${fontWeight} ${fontSize} ${fontFamily}`;
    return [...new Set(texts)].reduce((most, text) => Math.max(most, context.measureText(text).width), 0);
  };
  const fitOf = (column: Column): number => {
    const { kind, id, label, orders, minPx } = column;
    const texts = users.map((user) => column.textOf(user));
    const textPx = widest(texts, kind === 'attribute' ? '.cell-attribute' : `.cell-${id}`);
    const titlePx = widest([label], '.head-label') + menuPx + (orders.length > 0 ? arrowPx : 0);
    const px = Math.ceil(Math.max(textPx, titlePx)) + (kind === 'name' ? avatarPx : 0);
    // A time of today is shorter than other days.
    return Math.min(Math.max(px, kind === 'time' ? minPx : fitPxMin), fitPxMax);
  };
  return Object.fromEntries(columns.map((column) => [column.id, fitOf(column)]));
}
