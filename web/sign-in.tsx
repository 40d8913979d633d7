/** Asks for a token. The page keeps it in memory only, so it asks again after a reload. */
import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Directory } from './directory.js';

export interface SignInProps {
  readonly directory: Directory;
  /** Whether the server rejected the previous token. */
  readonly wasRefused: boolean;
}

export function SignIn({ directory, wasRefused }: SignInProps) {
  const [token, setToken] = useState('');
  const isRefused = wasRefused && token === '';
  const dialog = useRef<HTMLDialogElement>(null);
  // The dialog is shown over any other dialog, so that a form in that one keeps its input.
  useLayoutEffect(() => {
    const element = dialog.current;
    element?.showModal();
    // Closing the dialog before its removal restores the focus to that form.
    return () => element?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      class="dialog sign-in"
      aria-labelledby="sign-in"
      onCancel={(event) => event.preventDefault()}
      // In browsers a second Escape closes it anyway.
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
          <p class="soft">This directory requires a token.</p>
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
              The server rejected this token.
            </p>
          ) : (
            <p class="hint" id="token-hint">
              The page forgets the token when you close or reload it.
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
