/** The button that opens the panel for the columns and the density, whose code the page loads when it first shows it. */
import { ColumnsIcon } from '../ui/icons.js';
import { lazyPopup } from '../ui/lazy.js';
import { PopupButton } from '../ui/popup.js';
import type { ColumnsPanelProps } from './columns-panel.js';

const ColumnsPanel = lazyPopup(async () => (await import('./columns-panel.js')).ColumnsPanel);

export function ViewMenu(props: ColumnsPanelProps) {
  return (
    <PopupButton
      label={props.isCards === true ? 'Columns' : 'Columns and density'}
      role="dialog"
      buttonClass="button quiet icon view-button"
      face={<ColumnsIcon />}
      widthPx={296}
    >
      {() => <ColumnsPanel {...props} />}
    </PopupButton>
  );
}
