/** Asks for the token that the server wants. It stays in memory: a reload asks again, and nothing of it is stored. */
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Directory } from './directory.js';

export interface SignInProps {
  readonly directory: Directory;
  /** Whether a token was refused before. */
  readonly wasRefused: boolean;
}

export function SignIn({ directory, wasRefused }: SignInProps) {
  const [token, setToken] = useState('');
  // The refusal is of the token before.
  const isRefused = wasRefused && token === '';
  const dialog = useRef<HTMLDialogElement>(null);
  // Over whatever is open: a form that somebody is filling in stays as it is.
  useLayoutEffect(() => {
    const element = dialog.current;
    element?.showModal();
    // Before it leaves the document, which gives the focus back to that form.
    return () => element?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      class="dialog sign-in"
      aria-labelledby="sign-in"
      onCancel={(event) => event.preventDefault()}
      // A browser lets a second Escape close it all the same.
      onClose={() => dialog.current?.showModal()}
    >
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          const given = token.trim();
          if (given !== '') directory.signIn(given);
        }}
      >
        <div class="stack tight">
          <h1 id="sign-in">Sign in</h1>
          <p class="soft">This directory answers only to those who have a token.</p>
        </div>
        <div class="field">
          <label for="token">Token</label>
          <input
            id="token"
            class="input mono"
            type="password"
            autocomplete="off"
            autofocus
            value={token}
            aria-invalid={isRefused}
            aria-describedby={isRefused ? 'token-error' : 'token-hint'}
            onInput={(event) => setToken(event.currentTarget.value)}
          />
          {isRefused ? (
            <p class="error" id="token-error" role="alert">
              The server has refused this token.
            </p>
          ) : (
            <p class="hint" id="token-hint">
              It is kept until this page is closed or loaded again, and nowhere else.
            </p>
          )}
        </div>
        <button type="submit" class="button primary">
          Sign in
        </button>
      </form>
    </dialog>
  );
}
