/** The fields of a user's form. */
import { useId } from 'preact/hooks';
import { textFields } from '../src/fields.js';
import { AttributesEditor } from './attributes-editor.js';
import type { UserForm } from './user-form.js';

export function UserFormFields({ form, isReadOnly }: { form: UserForm; isReadOnly: boolean }) {
  const textField = (field: (typeof textFields)[number]) => (
    <TextField
      key={field.path}
      path={field.path}
      label={field.label}
      input={field.input}
      value={form.texts[field.name]}
      problem={form.violations[field.path]}
      isFirst={field === textFields[0] && form.base === undefined}
      isReadOnly={isReadOnly}
      onInput={(text) => form.setText(field, text)}
    />
  );
  return (
    <>
      <div class="names">{textFields.filter(({ input }) => input === 'name').map(textField)}</div>
      {textFields.filter(({ input }) => input !== 'name').map(textField)}
      <AttributesEditor
        rows={form.rows}
        problems={form.rowProblems}
        problem={form.violations.attributes}
        isReadOnly={isReadOnly}
        protectedKeys={form.protectedKeys}
        onChange={form.setRows}
      />
    </>
  );
}

interface TextFieldProps {
  readonly path: string;
  readonly label: string;
  readonly input: (typeof textFields)[number]['input'];
  readonly value: string;
  readonly problem: string | undefined;
  readonly isFirst: boolean;
  readonly isReadOnly: boolean;
  onInput(value: string): void;
}

function TextField({ path, label, input, value, problem, isFirst, isReadOnly, onInput }: TextFieldProps) {
  const id = useId();
  const link = input === 'url' ? linkOf(value) : undefined;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <div class="line">
        <input
          class="input"
          id={id}
          // Never type=email or type=url: browsers trim and rewrite what is typed there.
          inputMode={input === 'name' ? 'text' : input}
          autocomplete="off"
          autocapitalize={input === 'name' ? 'words' : 'none'}
          dir={input === 'name' ? 'auto' : undefined}
          spellcheck={false}
          value={value}
          readOnly={isReadOnly}
          data-field={path}
          data-focus={isFirst ? true : undefined}
          aria-invalid={problem !== undefined}
          aria-describedby={problem === undefined ? undefined : `${id}-problem`}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
        {link === undefined ? null : (
          <a class="button" href={link} target="_blank" rel="noopener noreferrer">
            Open<span class="visually-hidden"> the image in a new tab</span>
          </a>
        )}
      </div>
      {problem === undefined ? null : (
        <p class="error" id={`${id}-problem`}>
          {label} {problem}
        </p>
      )}
    </div>
  );
}

/** Returns the text if it is the URL of a web page. Another URL could run a script. */
function linkOf(text: string): string | undefined {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol) ? text : undefined;
}
