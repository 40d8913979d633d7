/** Shows the keys of the page. */
import { keyText } from '../text/key-text.js';
import { Dialog } from '../ui/dialog.js';
import { keys } from './keys.js';

export interface KeyboardHelpProps {
  onClose(): void;
  onCommands(): void;
}

export function KeyboardHelp({ onClose, onCommands }: KeyboardHelpProps) {
  const places = [...new Set(keys.map(({ place }) => place))];
  return (
    <Dialog title="Keyboard shortcuts" onClose={onClose}>
      {places.map((place) => (
        <section key={place} class="keys" aria-labelledby={`keys-${place.replace(' ', '-')}`}>
          <h3 id={`keys-${place.replace(' ', '-')}`}>{place}</h3>
          <dl>
            {keys
              .filter((key) => key.place === place)
              .map(({ keys, effect }) => (
                <div key={effect}>
                  <dt>{effect}</dt>
                  <dd>
                    {keys.map((key) => (
                      <kbd key={key} class="key">
                        {keyText(key)}
                      </kbd>
                    ))}
                  </dd>
                </div>
              ))}
          </dl>
        </section>
      ))}
      {/* Inside the part that scrolls, so that the keyboard reaches it. */}
      <button type="button" class="button small keys-more" onClick={onCommands}>
        Show all commands
      </button>
    </Dialog>
  );
}
