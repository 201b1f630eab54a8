/** The part of JSON Schema that the API's bodies are described in. */
export type JsonSchema = {
  type?: string;
  description?: string;
  enum?: readonly string[];
  minLength?: number;
  maxLength?: number;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  maxItems?: number;
  maxProperties?: number;
  items?: JsonSchema;
  anyOf?: readonly JsonSchema[];
  properties?: Readonly<Record<string, JsonSchema>>;
  required?: readonly string[];
};

export type FieldKind = 'text' | 'long_text' | 'secret' | 'choice' | 'list' | 'json' | 'whole_number';

export type Field = {
  name: string;
  label: string;
  kind: FieldKind;
  isRequired: boolean;
  /** Whether emptying it can be said to the API: as null. */
  isNullable: boolean;
  schema: JsonSchema;
};

/** What is in the controls: always text, as people typed it. Lists are separated by commas. */
export type Values = Readonly<Record<string, string>>;
export type Errors = Readonly<Record<string, string>>;

/** A text this long is more than a line. */
const longTextLength = 1_000;

/** The fields of a form for a body, in the order of its schema. */
export function fieldsOf(schema: JsonSchema): Field[] {
  return Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const branches = property.anyOf ?? [property];
    const own = branches.find(branch => branch.type !== 'null') ?? {};
    return {
      name,
      label: labelOf(name),
      kind: kindOf(name, own),
      isRequired: schema.required?.includes(name) ?? false,
      isNullable: branches.some(branch => branch.type === 'null'),
      schema: own,
    };
  });
}

function kindOf(name: string, schema: JsonSchema): FieldKind {
  if (schema.type === 'array') return 'list';
  if (schema.type === 'object') return 'json';
  if (schema.type === 'integer') return 'whole_number';
  if (schema.enum !== undefined) return 'choice';
  // JSON Schema has no word for what must not be shown; the API's own names do.
  if (/_(token|secret|password)$/.test(name)) return 'secret';
  return (schema.maxLength ?? 0) > longTextLength ? 'long_text' : 'text';
}

const acronyms: Readonly<Record<string, string>> = { api: 'API', url: 'URL', id: 'ID' };

function labelOf(name: string): string {
  const words = name.split('_').map(word => acronyms[word] ?? word);
  const label = words.join(' ');
  return label.charAt(0).toUpperCase() + label.slice(1);
}

/** What is wrong with the values, by field: what the schema says, so that a form need not be sent to find out. */
export function validate(fields: readonly Field[], values: Values): Errors {
  const errors: Record<string, string> = {};
  for (const field of fields) {
    const wrong = check(field, (values[field.name] ?? '').trim());
    if (wrong !== null) errors[field.name] = `${field.label} ${wrong}`;
  }
  return errors;
}

function check({ kind, isRequired, schema }: Field, text: string): string | null {
  if (text === '') return isRequired ? 'is required' : null;
  switch (kind) {
    case 'list': {
      const items = listOf(text);
      if (schema.maxItems !== undefined && items.length > schema.maxItems)
        return `takes at most ${schema.maxItems}`;
      const wrong = items.find(item => checkText(schema.items ?? {}, item) !== null);
      return wrong === undefined ? null : `“${wrong.slice(0, 40)}” ${checkText(schema.items ?? {}, wrong)}`;
    }
    case 'json':
      return checkObject(schema, text);
    case 'whole_number':
      return checkWholeNumber(schema, text);
    case 'text':
    case 'long_text':
    case 'secret':
    case 'choice':
      return checkText(schema, text);
  }
}

function checkText(schema: JsonSchema, text: string): string | null {
  const { minLength = 0, maxLength = Number.POSITIVE_INFINITY, pattern } = schema;
  // Lengths count characters, as the API does, not UTF-16 units.
  const length = Array.from(text).length;
  const matches = pattern === undefined || new RegExp(pattern, 'u').test(text);
  if (length >= minLength && length <= maxLength && matches) return null;
  if (schema.description !== undefined) return schema.description;
  return length > maxLength
    ? `must have at most ${maxLength} characters`
    : `must have at least ${minLength} characters`;
}

function checkWholeNumber({ minimum, maximum, description }: JsonSchema, text: string): string | null {
  const value = Number(text);
  const isInside = value >= (minimum ?? value) && value <= (maximum ?? value);
  return /^-?\d+$/.test(text) && isInside ? null : (description ?? 'must be a whole number');
}

function checkObject({ maxProperties }: JsonSchema, text: string): string | null {
  const value = parse(text);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return 'must be a JSON object, like {"rack": "b4"}';
  }
  const count = Object.keys(value).length;
  return maxProperties !== undefined && count > maxProperties
    ? `takes at most ${maxProperties} entries`
    : null;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const listOf = (text: string): string[] =>
  text
    .split(',')
    .map(item => item.trim())
    .filter(item => item !== '');

/** The body for a new thing: a field left empty is left out. Values have been validated. */
export function requestBodyOf(fields: readonly Field[], values: Values): Record<string, unknown> {
  const filled = fields.filter(field => (values[field.name] ?? '').trim() !== '');
  return Object.fromEntries(filled.map(field => [field.name, valueOf(field, values[field.name]!)]));
}

/** The body for a change: only what differs; emptied is null, or the empty list or object. A secret left empty stays. */
export function changesOf(fields: readonly Field[], before: Values, after: Values): Record<string, unknown> {
  const changed = fields.filter(({ name }) => (before[name] ?? '') !== (after[name] ?? ''));
  return Object.fromEntries(changed.map(field => [field.name, valueOf(field, after[field.name] ?? '')]));
}

function valueOf({ kind, isNullable }: Field, text: string): unknown {
  const trimmed = text.trim();
  if (kind === 'list') return listOf(trimmed);
  if (kind === 'json') return trimmed === '' ? {} : JSON.parse(trimmed);
  if (trimmed === '' && isNullable) return null;
  return kind === 'whole_number' ? Number(trimmed) : trimmed;
}

/** A thing of the API as its form shows it. Secrets are not there to be shown. */
export function valuesOf(fields: readonly Field[], thing: Readonly<Record<string, unknown>>): Values {
  return Object.fromEntries(fields.map(field => [field.name, textOf(field, thing[field.name])]));
}

function textOf({ kind }: Field, value: unknown): string {
  if (kind === 'secret' || value === null || value === undefined) return '';
  if (Array.isArray(value)) return value.join(', ');
  if (typeof value === 'string') return value;
  if (typeof value !== 'object') return JSON.stringify(value);
  return Object.keys(value).length === 0 ? '' : JSON.stringify(value, null, 2);
}

/** Errors of the API by field; those of no field of the form come under ''. */
export function errorsByField(
  fields: readonly Field[],
  found: readonly { pointer: string; detail: string }[],
): Errors {
  const errors: Record<string, string> = {};
  for (const { pointer, detail } of found) {
    // `/tags/3` is about the field `tags`.
    const name = pointer.split('/')[1] ?? '';
    const field = fields.find(each => each.name === name);
    const message = field === undefined ? `${pointer} ${detail}`.trim() : `${field.label} ${detail}`;
    errors[field?.name ?? ''] ??= message;
  }
  return errors;
}
