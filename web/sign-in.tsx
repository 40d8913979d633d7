/** Asks the user to sign in, at the issuer or with a token. The page keeps tokens in memory only. */
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Session } from './calls/session.js';
import { onDialogShown } from './ui/dialog.js';

export function SignIn({ session }: { session: Session }) {
  const dialog = useRef<HTMLDialogElement>(null);
  // The dialog is shown over any other dialog, so that a form in that one keeps its input.
  useLayoutEffect(() => {
    const element = dialog.current;
    const show = () => {
      const focused = document.activeElement;
      // Showing it again moves it over dialogs that were opened after it.
      element?.close();
      element?.showModal();
      const isOwn = focused instanceof HTMLElement && element?.contains(focused) === true;
      (isOwn ? focused : element?.querySelector<HTMLElement>('[data-focus]'))?.focus();
    };
    show();
    const forget = onDialogShown(show);
    return () => {
      forget();
      // Closing the dialog before its removal restores the focus to that form.
      element?.close();
    };
  }, []);
  // Whether the user tried a token last, and so sees the progress and the problem in its form.
  const [isToken, setIsToken] = useState(false);
  const { issuerHost, ending, problem, isBusy } = session;
  const tokenForm = (isOnly: boolean) => (
    <TokenForm
      isOnly={isOnly}
      isBusy={isBusy && (isToken || isOnly)}
      problem={isToken || isOnly ? problem : ''}
      onToken={(token) => {
        setIsToken(true);
        void session.signInWithToken(token);
      }}
    />
  );
  return (
    <dialog
      ref={dialog}
      class="dialog sign-in"
      aria-labelledby="sign-in"
      onCancel={(event) => event.preventDefault()}
      // In browsers a second Escape closes it anyway.
      onClose={() => dialog.current?.open === false && dialog.current.showModal()}
    >
      <div class="stack">
        <div class="stack tight">
          <h1 id="sign-in">{ending === '' ? 'Sign in to Roster' : 'Sign in again'}</h1>
          <p class="soft" role="status">
            {ending || (issuerHost === undefined ? needsToken : '')}
          </p>
        </div>
        {issuerHost === undefined ? (
          tokenForm(true)
        ) : (
          <>
            <p class="notice danger" role="alert">
              {isToken ? '' : problem}
            </p>
            <IssuerButton session={session} host={issuerHost} onClick={() => setIsToken(false)} />
            <details class="other-way" open={session.hasOwnToken}>
              <summary>Use an API key or token</summary>
              {tokenForm(false)}
            </details>
          </>
        )}
        <p class="visually-hidden" role="status">
          {isBusy ? 'Signing in…' : ''}
        </p>
      </div>
    </dialog>
  );
}

const needsToken = 'This directory requires an API key or a token.';

/** The page stays if there was a session, because it may contain something that the user typed. */
function IssuerButton({ session, host, onClick }: { session: Session; host: string; onClick(): void }) {
  const [hasWindow, setHasWindow] = useState(false);
  const isWaiting = session.isBusy && hasWindow;
  return (
    <div class="stack tight">
      <button
        type="button"
        class="button primary"
        data-focus
        onClick={() => {
          onClick();
          setHasWindow(session.hasSignedIn);
          void (session.hasSignedIn ? session.signInByWindow() : session.signInByLeaving());
        }}
      >
        <span class="truncate">Sign in with {host}</span>
      </button>
      {isWaiting ? (
        <p class="hint">Continue in the other window. If you have closed it, click the button again.</p>
      ) : session.hasSignedIn ? (
        <p class="hint">Opens a window. This page and what you typed stay as they are.</p>
      ) : null}
    </div>
  );
}

interface TokenFormProps {
  /** Whether there is no other way to sign in. */
  readonly isOnly: boolean;
  readonly isBusy: boolean;
  /** Why the last token was refused; empty if it was not. */
  readonly problem: string;
  onToken(token: string): void;
}

function TokenForm({ isOnly, isBusy, problem, onToken }: TokenFormProps) {
  const [token, setToken] = useState('');
  const [sent, setSent] = useState('');
  const isRefused = problem !== '' && token === sent;
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        const given = token.trim();
        if (given === '') return;
        setSent(token);
        onToken(given);
      }}
    >
      <div class="field">
        <label for="token">API key or token</label>
        <input
          id="token"
          class="input mono"
          type="password"
          autocomplete="off"
          data-focus={isOnly ? true : undefined}
          value={token}
          aria-invalid={isRefused}
          aria-describedby={isRefused ? 'token-error' : 'token-hint'}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
        {isRefused ? (
          <p class="error" id="token-error" role="alert">
            {problem}
          </p>
        ) : (
          <p class="hint" id="token-hint">
            The page keeps it until you reload or close this tab.
          </p>
        )}
      </div>
      <button type="submit" class={isOnly ? 'button primary' : 'button'} aria-disabled={isBusy}>
        {isBusy ? 'Signing in…' : 'Sign in'}
      </button>
    </form>
  );
}
