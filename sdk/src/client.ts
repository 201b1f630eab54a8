import createFetchClient, { type Client as FetchClient } from 'openapi-fetch';
import type { components, paths } from './schema.generated.ts';

type Schemas = components['schemas'];
export type FleetSummary = Schemas['FleetSummary'];
export type CheckResult = Schemas['CheckResult'];
export type HealthCheck = Schemas['HealthCheck'];
export type MetricRow = Schemas['MetricRow'];
export type Problem = Schemas['Problem'];
export type Server = Schemas['Server'];
export type ServerList = Schemas['ServerList'];
export type ServerRegistration = Schemas['ServerRegistration'];
export type ServerUpdate = Schemas['ServerUpdate'];
export type Session = Schemas['Session'];

/** `refused`: the API answered with an error. Otherwise there was no answer, or none of the API's. */
export type ApiErrorKind = 'refused' | 'timeout' | 'network' | 'not_the_api';

/**
 * The one error of this client. `problem` is what the API said (RFC 9457), null where it said nothing:
 * its `code` is for programs, its `errors` name the wrong fields, its `instance` is the request to quote.
 */
export class ApiError extends Error {
  readonly kind: ApiErrorKind;
  /** The HTTP status, 0 where there was no answer. */
  readonly status: number;
  readonly problem: Problem | null;

  constructor(facts: {
    kind: ApiErrorKind;
    message: string;
    status?: number;
    problem?: Problem;
    cause?: unknown;
  }) {
    super(facts.message, { cause: facts.cause });
    this.name = 'ApiError';
    this.kind = facts.kind;
    this.status = facts.status ?? 0;
    this.problem = facts.problem ?? null;
  }
}

export type ClientOptions = {
  /** Where the API is, e.g. `https://fleet.example.com`. */
  baseUrl: string;
  /** An API token. A browser on the dashboard's own origin leaves it out: its session cookie is sent. */
  token?: string;
  /** For the whole answer, body included. Default 20,000: the longest route waits 14 s for a check. */
  timeoutMs?: number;
  /** Default: the platform's. */
  fetch?: (request: Request) => Promise<Response>;
};

export type Client = FetchClient<paths>;

/**
 * A typed client of every route. Throws ApiError for each failure, so an answer is always a success. Nothing
 * is ever sent twice: who knows that a call may be repeated, repeats it.
 */
export function createClient(options: ClientOptions): Client {
  const { timeoutMs = 20_000, token } = options;
  const send = options.fetch ?? (request => fetch(request));
  return createFetchClient<paths>({
    baseUrl: options.baseUrl,
    credentials: 'same-origin',
    redirect: 'error',
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    fetch: async request => {
      const timeout = AbortSignal.timeout(timeoutMs);
      const signal = AbortSignal.any([request.signal, timeout]);
      try {
        const response = await send(new Request(request, { signal }));
        if (!response.ok) throw await refusal(response);
        return await complete(response);
      } catch (error) {
        // What the caller aborted is not a failure of the API.
        if (error instanceof ApiError || request.signal.aborted) throw error;
        if (timeout.aborted) {
          const message = `The API did not answer within ${timeoutMs / 1000} s.`;
          throw new ApiError({ kind: 'timeout', message, cause: error });
        }
        throw new ApiError({ kind: 'network', message: 'The API cannot be reached.', cause: error });
      }
    },
  });
}

/** The body of a successful answer: `const { server } = await bodyOf(client.GET(…))`. */
export async function bodyOf<T>(answer: Promise<{ data?: T }>): Promise<Exclude<T, undefined>> {
  const { data } = await answer;
  return data as Exclude<T, undefined>;
}

/**
 * A JSON answer with its body read, so that nothing can fail later and outside the time limit; any other kind
 * (the text of /metrics, a stream) as it is. HTML is nothing the API ever says to this client.
 */
async function complete(response: Response): Promise<Response> {
  const type = response.headers.get('content-type') ?? '';
  const { status } = response;
  const message = 'The answer is not of the API; is there something else at this address?';
  if (type.includes('html')) throw new ApiError({ kind: 'not_the_api', message, status });
  if (!type.includes('json')) return response;
  const text = await response.text();
  try {
    JSON.parse(text);
  } catch (cause) {
    throw new ApiError({ kind: 'not_the_api', message, status, cause });
  }
  return new Response(text, response);
}

/** The failure that an answer with an error status stands for. */
async function refusal(response: Response): Promise<ApiError> {
  const { status } = response;
  const body: unknown = await response.json().catch(() => null);
  if (isProblem(body)) return new ApiError({ kind: 'refused', message: body.detail, status, problem: body });
  return new ApiError({
    kind: 'not_the_api',
    message: `The answer was HTTP ${status}, and not of the API.`,
    status,
  });
}

function isProblem(body: unknown): body is Problem {
  if (typeof body !== 'object' || body === null) return false;
  const { code, detail, instance } = body as Partial<Problem>;
  return typeof code === 'string' && typeof detail === 'string' && typeof instance === 'string';
}
