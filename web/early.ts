/**
 * Runs before the page is first drawn, so it is small and imports nothing. Sets the stored theme, because another one
 * would flash, and says so if the page's script cannot be loaded.
 */
{
  try {
    // As theme.ts stores it.
    const theme = localStorage.getItem('roster-theme');
    if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
  } catch {
    // The browser does not let the page store anything.
  }
  const onError = ({ target }: Event) => {
    if (!(target instanceof HTMLScriptElement)) return;
    const status = document.getElementById('shell-status');
    if (status === null) return;
    status.textContent = 'Cannot load the page. Check your connection, and reload it.';
    status.className = 'notice danger problem';
  };
  // Errors of elements do not bubble.
  addEventListener('error', onError, true);
}
