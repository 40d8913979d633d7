/** Loads the code that signs in at an issuer, only for directories that have one. */
import { type Issuer, IssuerError, type IssuerSettings } from './issuer.js';
import { loadPart, PartError } from './load-part.js';

/** `pageAddress` is the redirect URI. It must be registered at the issuer. */
export function createIssuer(settings: IssuerSettings, pageAddress: string): Issuer {
  let loading: Promise<Issuer> | undefined;
  const load = () => {
    loading ??= loadPart(async () => {
      const { createIssuerClient } = await import('./issuer-client.js');
      return createIssuerClient(settings, pageAddress);
    }).catch((error: unknown) => {
      loading = undefined;
      throw error instanceof PartError ? new IssuerError(error.message, { isFinal: false }) : error;
    });
    return loading;
  };
  // The user must sign in before anything else. If this fails, the attempt to sign in says why.
  load().catch(() => {});
  return {
    host: new URL(settings.issuer).host,
    begin: async (attempt) => (await load()).begin(attempt),
    finish: async (attempt, response) => (await load()).finish(attempt, response),
    refresh: async (grant) => (await load()).refresh(grant),
    signOut: async (grant) => (await load()).signOut(grant),
  };
}
