import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import type { TSchema } from 'typebox';
import { AppError, type FieldError } from '../errors.ts';

export type RequestPart = 'body' | 'query' | 'params';

// allErrors is safe because bodies are at most 1 MiB and no schema has an expensive pattern.
const shared = { allErrors: true, removeAdditional: false, useDefaults: true, strict: false } as const;
const ofBody = new Ajv2020({ ...shared, coerceTypes: false });
// Paths and queries arrive as text; "5" may become 5 there, and only there.
const ofText = new Ajv2020({ ...shared, coerceTypes: true });
for (const ajv of [ofBody, ofText]) (formats as unknown as (ajv: unknown) => void)(ajv);

const maxErrors = 20;

/** Compiles a schema into a check that returns the value or throws `invalid`, naming every wrong field. */
export function compileCheck(part: RequestPart, schema: TSchema): (value: unknown) => unknown {
  const validate: ValidateFunction = (part === 'body' ? ofBody : ofText).compile(schema);
  return value => {
    if (!validate(value)) throw invalid(part, validate.errors ?? []);
    refuseUnstorable(part, value, '');
    return value;
  };
}

function invalid(part: RequestPart, found: readonly ErrorObject[]): AppError {
  const errors = found
    // The branch of a union or of an if: its leaves say what is wrong.
    .filter(error => !['if', 'anyOf', 'oneOf'].includes(error.keyword) || found.length === 1)
    .slice(0, maxErrors)
    .map(error => fieldError(part, error));
  const first = errors[0]!;
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : '';
  return new AppError('invalid', `${label(first.pointer)}: ${first.detail}${more}`, { errors });
}

const label = (pointer: string): string =>
  pointer === '' || pointer === '/' ? 'body' : pointer.replace(/^\//, '');

function fieldError(part: RequestPart, error: ErrorObject): FieldError {
  const prefix = part === 'body' ? '' : `/${part}`;
  const params = error.params as {
    missingProperty?: string;
    additionalProperty?: string;
    allowedValues?: unknown[];
  };
  const name = params.missingProperty ?? params.additionalProperty;
  const pointer = `${prefix}${error.instancePath}${name === undefined ? '' : `/${escapePointer(name)}`}`;
  switch (error.keyword) {
    case 'required':
      return { pointer, detail: 'is required' };
    case 'additionalProperties':
      return { pointer, detail: 'is not a known field' };
    case 'enum':
    case 'const':
      return { pointer, detail: `must be one of ${(params.allowedValues ?? []).join(', ')}` };
    case 'pattern':
    case 'format':
      return {
        pointer,
        detail: error.parentSchema?.['description'] ?? error.message ?? 'has the wrong form',
      };
    default:
      return { pointer, detail: error.message ?? 'is not valid' };
  }
}

// RFC 6901 §3
const escapePointer = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1');

const maxDepth = 32;

/** PostgreSQL stores neither NUL nor half a surrogate pair: refused here, by name, not as a database error. */
function refuseUnstorable(part: RequestPart, value: unknown, pointer: string, depth = 0): void {
  const at = part === 'body' ? pointer : `/${part}${pointer}`;
  if (depth > maxDepth) throw oneError(at, `is nested deeper than ${maxDepth} levels`);
  if (typeof value === 'string') {
    if (!isStorable(value))
      throw oneError(at, 'contains a character that cannot be stored (NUL or half a surrogate pair)');
  } else if (typeof value === 'number') {
    // JSON.parse turns 1e400 into Infinity.
    if (!Number.isFinite(value)) throw oneError(at, 'is not a finite number');
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, child] of Object.entries(value)) {
      if (!isStorable(key)) throw oneError(at, 'has a field name that cannot be stored');
      refuseUnstorable(part, child, `${pointer}/${escapePointer(key)}`, depth + 1);
    }
  }
}

const isStorable = (text: string): boolean => !text.includes('\0') && text.isWellFormed();

function oneError(pointer: string, detail: string): AppError {
  return new AppError('invalid', `${label(pointer)}: ${detail}`, { errors: [{ pointer, detail }] });
}
