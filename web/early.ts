/**
 * Runs before the page is first drawn, so it is small and imports nothing. Sets the stored theme, because another one
 * would flash, says so if the page's script cannot be loaded, and loads the browser's formats and fonts.
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
  // Each of these takes Chromium 10 to 20 ms when it is first used, which would delay the first rows. The browser still waits
  // for the style sheet and for the page's script.
  setTimeout(() => {
    new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short', year: 'numeric' });
    new Intl.NumberFormat();
    const context = document.createElement('canvas').getContext('2d');
    if (context === null) return;
    // The fonts of rows and of titles (tokens.css).
    for (const font of ['14px', '500 14px', '500 12px']) {
      context.font = `${font} system-ui, sans-serif`;
      context.measureText('A');
    }
  });
}
