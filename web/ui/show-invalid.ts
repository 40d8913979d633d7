/** Moves the focus to the first invalid field of a form, and shows its message, which is below it, or that of the form. */
export function showInvalid(form: HTMLElement | null): void {
  form?.querySelector<HTMLElement>('[aria-invalid="true"], [data-invalid] button')?.focus();
  const message = form?.querySelector('.error') ?? form?.querySelector('.notice.danger:not(:empty)');
  message?.scrollIntoView({ block: 'nearest' });
}
