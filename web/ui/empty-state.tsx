/** The middle of a view that has nothing to show: a sign, a title, why, and what to do about it. */
import type { ComponentChildren, FunctionComponent } from 'preact';

export interface EmptyStateProps {
  readonly icon: FunctionComponent;
  readonly title: string;
  /** `alert` if something has failed. */
  readonly role?: 'alert' | undefined;
  /** Paragraphs. */
  readonly children?: ComponentChildren;
  /** Buttons, the main one first. */
  readonly actions?: ComponentChildren;
}

export function EmptyState({ icon: Icon, title, role, children, actions }: EmptyStateProps) {
  return (
    <div class={`empty ${role === 'alert' ? 'failed' : ''}`} role={role}>
      <span class="empty-sign">
        <Icon />
      </span>
      <h2>{title}</h2>
      {children}
      {actions !== undefined && <div class="line wrap">{actions}</div>}
    </div>
  );
}
