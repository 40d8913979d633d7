/** The commands of the whole page, and what they open over it: the palette and the keyboard help. */
import type { ComponentChildren } from 'preact';
import { useCallback, useState } from 'preact/hooks';
import { type Go, type Route, readRoute } from '../address/route.js';
import type { Directory } from '../calls/directory.js';
import { searchAttributes } from '../filter/attribute-search.js';
import { CommandIcon } from '../ui/icons.js';
import { lazyDialog } from '../ui/lazy.js';
import { useTheme } from '../ui/theme.js';
import { showToast } from '../ui/toasts.js';
import { useCommandKeys } from './command-keys.js';
import { type Command, useCommands } from './commands.js';
import { pageCommands } from './page-commands.js';

const Palette = lazyDialog('Commands', async () => (await import('./palette.js')).Palette);
const KeyboardHelp = lazyDialog('Keyboard shortcuts', async () => (await import('./keyboard-help.js')).KeyboardHelp);
const preloadPalette = () => void Palette.preload();

export interface PageOverlayOptions {
  readonly directory: Directory;
  readonly view: Route['view'];
  readonly go: Go;
  onOpenUser(id: string): void;
}

export interface PageOverlay {
  /** The commands of the header's menu. */
  readonly commands: readonly Command[];
  readonly overlay: ComponentChildren;
}

export function usePageOverlay({ directory, view, go, onOpenUser }: PageOverlayOptions): PageOverlay {
  const { session } = directory;
  const [theme, setTheme] = useTheme();
  const [shown, setShown] = useState<'' | 'palette' | 'keys'>('');
  const close = () => setShown('');
  const openKeys = useCallback(() => setShown('keys'), []);
  const openPalette = useCallback(() => setShown('palette'), []);

  const commands = pageCommands({ session, view, theme, go, setTheme, openKeys });
  useCommands(() => commands, [session.caller, session.canSignOut, view, theme, go]);
  useCommandKeys(openPalette, preloadPalette);
  const inMenu = commands.filter(({ id }) => id !== 'new-user');
  return {
    commands: [...inMenu, { id: 'palette', label: 'All commands', key: 'Mod+K', icon: CommandIcon, run: openPalette }],
    overlay: (
      <>
        {shown === 'palette' && (
          <Palette
            directory={directory}
            onClose={close}
            onOpenUser={onOpenUser}
            onSearch={(query) => go({ view: 'list', query })}
            onSearchAttributes={(query) => {
              const { filter } = readRoute(location.hash);
              searchAttributes({ directory, query: { query, filter }, go }).catch((error: unknown) =>
                showToast({ text: error instanceof Error ? error.message : '', tone: 'danger' }),
              );
            }}
          />
        )}
        {shown === 'keys' && <KeyboardHelp onClose={close} onCommands={openPalette} />}
      </>
    ),
  };
}
