import { ApiError } from '@opsfleet/sdk';
import { type ReactNode, useId, useRef, useState } from 'react';
import { flushSync } from 'react-dom';
import { ErrorPanel } from '../components/ErrorPanel.tsx';
import { Button } from '../ui/Button.tsx';
import { type Errors, errorsByField, type Field, type Values, validate } from './schema.ts';

export type Purpose = { text: string; placeholder?: string };

type Props = {
  fields: readonly Field[];
  /** What each field is for, in words the schema does not have. */
  purposes: Readonly<Record<string, Purpose>>;
  initial: Values;
  submitLabel: string;
  isSending: boolean;
  /** What the API said to the last attempt. */
  error: Error | null;
  onSubmit(values: Values): void;
  children?: ReactNode;
};

/** A form out of a JSON schema. What is wrong stands at its field, whoever found it. */
export function SchemaForm(props: Props) {
  const { fields, purposes, initial, submitLabel, isSending, error, onSubmit, children } = props;
  const form = useRef<HTMLFormElement>(null);
  const [values, setValues] = useState(initial);
  const [found, setFound] = useState<Errors>({});
  // An error of the API is about what was sent; editing a field answers it.
  const [answered, setAnswered] = useState<{ error: Error | null; fields: ReadonlySet<string> }>({
    error: null,
    fields: new Set(),
  });
  const refused = error instanceof ApiError ? errorsByField(fields, error.problem?.errors ?? []) : {};
  const isOpen = (name: string): boolean => answered.error !== error || !answered.fields.has(name);
  const errors: Errors = {
    ...Object.fromEntries(Object.entries(refused).filter(([name]) => isOpen(name))),
    ...found,
  };
  const isFieldError = Object.keys(refused).some(name => name !== '');

  function change(name: string, text: string): void {
    setValues({ ...values, [name]: text });
    setFound(Object.fromEntries(Object.entries(found).filter(([key]) => key !== name)));
    setAnswered({ error, fields: new Set([...(answered.error === error ? answered.fields : []), name]) });
  }

  function submit(): void {
    const wrong = validate(fields, values);
    flushSync(() => setFound(wrong));
    if (Object.keys(wrong).length === 0) return onSubmit(values);
    form.current?.querySelector<HTMLElement>('[aria-invalid=true]')?.focus();
  }

  return (
    <form
      ref={form}
      noValidate
      className="grid gap-4"
      onSubmit={event => {
        event.preventDefault();
        if (!isSending) submit();
      }}
    >
      {error !== null && !isFieldError ? <ErrorPanel what="This was not saved." error={error} /> : null}
      <output className={Object.keys(errors).length === 0 ? 'sr-only' : 'font-medium text-critical'}>
        {summaryOf(Object.keys(errors).length)}
      </output>
      {fields.map(field => (
        <FieldRow
          key={field.name}
          field={field}
          purpose={purposes[field.name]}
          value={values[field.name] ?? ''}
          error={errors[field.name]}
          onChange={text => change(field.name, text)}
        />
      ))}
      {children}
      <div>
        <Button look="primary" type="submit" unavailable={isSending ? 'Saving' : undefined}>
          {isSending ? 'Saving…' : submitLabel}
        </Button>
      </div>
    </form>
  );
}

function summaryOf(count: number): string {
  if (count === 0) return '';
  return count === 1 ? 'One field needs attention.' : `${count} fields need attention.`;
}

type FieldRowProps = {
  field: Field;
  purpose: Purpose | undefined;
  value: string;
  error: string | undefined;
  onChange(text: string): void;
};

function FieldRow({ field, purpose, value, error, onChange }: FieldRowProps) {
  const id = useId();
  const describedBy = [purpose === undefined ? '' : `${id}-purpose`, error === undefined ? '' : `${id}-error`]
    .join(' ')
    .trim();
  const common = {
    id,
    name: field.name,
    value,
    required: field.isRequired,
    className: 'input',
    'aria-invalid': error === undefined ? undefined : true,
    'aria-describedby': describedBy === '' ? undefined : describedBy,
    onChange: (event: { target: { value: string } }) => onChange(event.target.value),
  } as const;
  return (
    <div className="grid gap-1">
      <label htmlFor={id} className="font-medium">
        {field.label}
        {field.isRequired ? null : <span className="font-normal text-muted"> (optional)</span>}
      </label>
      {purpose === undefined ? null : (
        <p id={`${id}-purpose`} className="text-sm text-muted">
          {purpose.text}
        </p>
      )}
      <Control field={field} common={common} placeholder={purpose?.placeholder} />
      {error === undefined ? null : (
        <p id={`${id}-error`} className="text-sm font-medium text-critical">
          {error}
        </p>
      )}
    </div>
  );
}

type ControlProps = {
  field: Field;
  common: React.ComponentProps<'input'> & React.ComponentProps<'textarea'> & React.ComponentProps<'select'>;
  placeholder: string | undefined;
};

function Control({ field, common, placeholder }: ControlProps) {
  switch (field.kind) {
    case 'choice':
      return (
        <select {...common}>
          {field.isRequired || common.value !== '' ? null : <option value="">Default</option>}
          {(field.schema.enum ?? []).map(option => (
            <option key={option}>{option}</option>
          ))}
        </select>
      );
    case 'long_text':
      return <textarea {...common} rows={2} placeholder={placeholder} />;
    case 'json':
      return (
        <textarea
          {...common}
          rows={3}
          spellCheck={false}
          className="input font-mono text-sm"
          placeholder={placeholder}
        />
      );
    case 'secret':
      // `new-password`: a browser must not fill in a password it knows, and does not offer to keep this one.
      return <input {...common} type="password" autoComplete="new-password" className="input font-mono" />;
    case 'whole_number':
      return (
        <input {...common} type="text" inputMode="numeric" autoComplete="off" placeholder={placeholder} />
      );
    case 'list':
    case 'text':
      return (
        <input {...common} type="text" autoComplete="off" spellCheck={false} placeholder={placeholder} />
      );
  }
}
