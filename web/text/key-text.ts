/** The text of a key on this computer: `Mod+K` is Ctrl+K, or ⌘K on a Mac. */
const isMac = /^(?:Mac|iP)/.test(navigator.platform);

export function keyText(key: string): string {
  return isMac ? key.replace('Mod+', '⌘').replace('Shift+', '⇧') : key.replace('Mod', 'Ctrl');
}
