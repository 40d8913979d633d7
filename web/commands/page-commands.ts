/** The commands of the whole page. The header's menu shows most of them, too. */
import { type Go, metrics, type Route } from '../address/route.js';
import type { Session } from '../calls/session.js';
import {
  ExportIcon,
  ImportIcon,
  KeyboardIcon,
  MetricsIcon,
  MoonIcon,
  PlusIcon,
  SignOutIcon,
  SunIcon,
  UsersIcon,
} from '../ui/icons.js';
import type { Theme } from '../ui/theme.js';
import type { Command } from './commands.js';

export interface PageCommandsOptions {
  readonly session: Session;
  readonly view: Route['view'];
  readonly theme: Theme;
  readonly go: Go;
  setTheme(theme: Theme): void;
  openKeys(): void;
}

export function pageCommands({ session, view, theme, go, setTheme, openKeys }: PageCommandsOptions): Command[] {
  const { caller } = session;
  const isDark = theme === 'dark';
  const offered: readonly (Command | false)[] = [
    caller.may('createUser') && {
      id: 'new-user',
      label: 'New user',
      words: 'add create person',
      key: 'n',
      icon: PlusIcon,
      run: () => go({ user: 'new' }),
    },
    caller.may('batchCreateUsers') && {
      id: 'import',
      label: 'Import users',
      words: 'upload add many file csv',
      icon: ImportIcon,
      run: () => go({ dialog: 'import' }),
    },
    caller.may('exportUsers') && {
      id: 'export',
      label: 'Export users',
      words: 'download file csv',
      icon: ExportIcon,
      run: () => go({ dialog: 'export' }),
    },
    view === 'metrics'
      ? { id: 'users', label: 'Users', words: 'list people go', icon: UsersIcon, run: () => go({ view: 'list' }) }
      : {
          id: 'metrics',
          label: 'Metrics',
          words: 'server activity charts go',
          icon: MetricsIcon,
          run: () => go(metrics),
        },
    {
      id: 'theme',
      label: isDark ? 'Light theme' : 'Dark theme',
      words: 'light dark colours mode',
      icon: isDark ? SunIcon : MoonIcon,
      run: () => setTheme(isDark ? 'light' : 'dark'),
    },
    {
      id: 'keys',
      label: 'Keyboard shortcuts',
      words: 'keys help',
      key: '?',
      icon: KeyboardIcon,
      run: openKeys,
    },
    session.canSignOut && {
      id: 'sign-out',
      label: 'Sign out',
      words: 'log out leave',
      icon: SignOutIcon,
      run: () => void session.signOut(),
    },
  ];
  return offered.filter((command) => command !== false).map((command) => ({ ...command, isFirst: true }));
}
