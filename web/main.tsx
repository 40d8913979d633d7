/** The page's entry point. Replaces the shell of index.html. */
import { render } from 'preact';
import { Page } from './app.js';
import { type AuthResponse, handOver, takeAuthResponse } from './calls/auth-response.js';
import { createDirectory } from './calls/directory.js';
import { keepFocus } from './ui/kept-focus.js';
import './styles/index.css';

/** So that a server that answers at once never shows a page that it then corrects. */
const settingsMsMax = 1_000;

const page = document.getElementById('page');
const response = takeAuthResponse();
if (page !== null) void start(page, response);

async function start(root: HTMLElement, authResponse: AuthResponse | undefined): Promise<void> {
  if (authResponse?.attempt === undefined && authResponse !== undefined && (await handOver(authResponse.parameters))) {
    root.replaceChildren();
    render(<p class="window-end">You can close this window and continue in the other one.</p>, root);
    window.close();
    return;
  }
  const directory = createDirectory({ authResponse });
  await Promise.race([directory.session.loaded, new Promise((resolve) => setTimeout(resolve, settingsMsMax))]);
  root.replaceChildren();
  keepFocus(root);
  render(<Page directory={directory} />, root);
}
