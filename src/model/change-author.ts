/** Describes who changes users, and in which call. The change log keeps both, without personal data. */
export interface ChangeAuthor {
  /** `Caller.actor`; empty if the server is open to everyone. */
  readonly actor: string;
  /** The call's x-request-id. */
  readonly requestId: string;
  /** Receives the ids of the users before a call writes them, and again if it has written others or none. */
  onUsers?(ids: readonly string[]): void;
  /** Called before an import is committed. Until then, it has written nothing. */
  onCommitting?(): void;
  /** Receives a consistency token after the call's changes are committed. A later token replaces it. */
  onCommitted?(token: string): void;
}
