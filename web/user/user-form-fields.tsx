/** The fields of a user's form. */
import { useId } from 'preact/hooks';
import { textFields } from '../../src/fields.js';
import { AttributesEditor } from '../attributes/attributes-editor.js';
import type { Directory } from '../calls/directory.js';
import { isLink } from '../users/attributes.js';
import { violationText } from '../users/user-fields.js';
import type { UserForm } from './user-form.js';

export interface UserFormFieldsProps {
  readonly directory: Directory;
  readonly form: UserForm;
  readonly isReadOnly: boolean;
}

export function UserFormFields({ directory, form, isReadOnly }: UserFormFieldsProps) {
  const textField = (field: (typeof textFields)[number]) => (
    <TextField
      key={field.path}
      path={field.path}
      label={field.label}
      input={field.input}
      value={form.texts[field.name]}
      problem={form.violations[field.path]}
      isRequired={'isRequired' in field}
      isFirst={field === textFields[0]}
      isNew={form.base === undefined}
      isReadOnly={isReadOnly}
      onInput={(text) => form.setText(field, text)}
    />
  );
  return (
    <>
      <div class="facts">{textFields.map(textField)}</div>
      <AttributesEditor
        directory={directory}
        userId={form.base?.id}
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
  readonly isRequired: boolean;
  readonly isFirst: boolean;
  readonly isNew: boolean;
  readonly isReadOnly: boolean;
  onInput(value: string): void;
}

function TextField(props: TextFieldProps) {
  const { path, label, input, value, problem, isRequired, isFirst, isNew, isReadOnly, onInput } = props;
  const id = useId();
  const link = input === 'url' && isLink(value) ? value : undefined;
  return (
    <div>
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
          placeholder={isRequired || isReadOnly ? undefined : 'Optional'}
          aria-required={isRequired}
          data-field={path}
          data-first={isFirst ? true : undefined}
          data-focus={isFirst && isNew ? true : undefined}
          aria-invalid={problem !== undefined}
          aria-describedby={problem === undefined ? undefined : `${id}-problem`}
          onInput={(event) => onInput(event.currentTarget.value)}
        />
        {link === undefined ? null : (
          <a class="button small" href={link} target="_blank" rel="noopener noreferrer">
            Open<span class="visually-hidden"> the image in a new tab</span>
          </a>
        )}
      </div>
      {problem === undefined ? null : (
        <p class="error" id={`${id}-problem`}>
          {isRequired && value.trim() === '' ? `${label} is required.` : violationText(label, problem)}
        </p>
      )}
    </div>
  );
}
