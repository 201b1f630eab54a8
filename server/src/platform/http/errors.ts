import { type Static, Type } from 'typebox';
import { AppError, type ErrorCode, type FieldError } from '../errors.ts';

const statusOf: Record<ErrorCode, number> = {
  malformed: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  conflict: 409,
  precondition_failed: 412,
  too_large: 413,
  unsupported_media_type: 415,
  invalid: 422,
  rate_limited: 429,
  internal: 500,
  upstream_failed: 502,
  unavailable: 503,
};

const titleOf: Record<ErrorCode, string> = {
  malformed: 'Malformed request',
  unauthenticated: 'Not authenticated',
  forbidden: 'Not allowed',
  not_found: 'Not found',
  method_not_allowed: 'Method not allowed',
  conflict: 'Conflict',
  precondition_failed: 'Changed meanwhile',
  too_large: 'Too large',
  unsupported_media_type: 'Unsupported media type',
  invalid: 'Invalid request',
  rate_limited: 'Too many requests',
  internal: 'Internal error',
  upstream_failed: 'The server did not answer as it should',
  unavailable: 'Unavailable',
};

/** RFC 9457 problem details. `detail` is also where clients of the seed's API look for the message. */
export const Problem = Type.Object(
  {
    type: Type.String({ description: 'urn:opsfleet:problem: followed by the code.' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    code: Type.String({ enum: Object.keys(statusOf) }),
    instance: Type.String({ description: 'urn:uuid: of the request, to quote when asking for help.' }),
    errors: Type.Optional(
      Type.Array(Type.Object({ pointer: Type.String(), detail: Type.String() }), {
        description: 'What is wrong, field by field.',
      }),
    ),
  },
  { title: 'Problem' },
);
export type Problem = Static<typeof Problem>;

/** The answer to any failure: the only place that picks a status code. */
export function toProblem(
  error: unknown,
  requestId: string,
): { problem: Problem; headers: Record<string, string> } {
  const known = asAppError(error);
  const status = statusOf[known.code];
  const problem: Problem = {
    type: `urn:opsfleet:problem:${known.code}`,
    title: titleOf[known.code],
    status,
    detail: known.message,
    code: known.code,
    instance: `urn:uuid:${requestId}`,
  };
  if (known.errors !== undefined) problem.errors = [...known.errors];
  const headers: Record<string, string> = { 'content-type': 'application/problem+json; charset=utf-8' };
  if (known.code === 'unauthenticated') headers['www-authenticate'] = 'Bearer realm="opsfleet"';
  if (known.retryAfterSeconds !== undefined)
    headers['retry-after'] = String(Math.ceil(known.retryAfterSeconds));
  return { problem, headers };
}

/** Errors of the framework, by its stable codes. */
const ofFramework: Readonly<Record<string, [ErrorCode, string]>> = {
  FST_ERR_MAX_PARAM_LENGTH: ['not_found', 'There is nothing at this address.'],
  FST_ERR_CTP_BODY_TOO_LARGE: ['too_large', 'The request body is larger than 1 MiB.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported_media_type', 'The request body must be application/json.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['malformed', 'The request body is not as long as it says.'],
};

/** Everything unknown is internal and says nothing. */
function asAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const { code = '', statusCode } = error as { code?: string; statusCode?: number };
  const known = ofFramework[code];
  if (known !== undefined) return new AppError(...known);
  if (statusCode === 400)
    return new AppError('malformed', 'The request cannot be understood.', { cause: error });
  if (statusCode === 413) return new AppError('too_large', 'The request is too large.', { cause: error });
  return new AppError('internal', 'Something went wrong on our side.', { cause: error });
}

/** One field error as an AppError, for checks a schema cannot express. */
export function invalidField(pointer: string, detail: string): AppError {
  const errors: FieldError[] = [{ pointer, detail }];
  return new AppError('invalid', `${pointer.replace(/^\//, '')}: ${detail}`, { errors });
}
