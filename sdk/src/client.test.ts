import { describe, expect, test } from 'vitest';
import { ApiError, bodyOf, type ClientOptions, createClient } from './client.ts';

const json = (body: unknown, status = 200): Response =>
  new Response(JSON.stringify(body), { status, headers: { 'content-type': 'application/json' } });

/** A client whose network is `answer`, and what was sent over it. */
function clientOf(answer: (request: Request) => Promise<Response>, options: Partial<ClientOptions> = {}) {
  const sent: Request[] = [];
  const client = createClient({
    baseUrl: 'https://fleet.example',
    fetch: request => {
      sent.push(request);
      return answer(request);
    },
    ...options,
  });
  return { client, sent };
}

const failureOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'no failure',
    (error: unknown) => error,
  );
const never = (request: Request): Promise<Response> =>
  new Promise((_resolve, reject) => {
    request.signal.addEventListener('abort', () => reject(request.signal.reason as Error));
  });

const problem = {
  type: 'urn:opsfleet:problem:invalid',
  title: 'Invalid request',
  status: 422,
  detail: 'name: is required',
  code: 'invalid',
  instance: 'urn:uuid:1',
  errors: [{ pointer: '/name', detail: 'is required' }],
};

test('an answer is its body, asked for with the token', async () => {
  const { client, sent } = clientOf(async () => json({ job: { id: 'j' }, results: [] }), { token: 'flt_x' });
  const body = await bodyOf(
    client.GET('/api/v1/fleet/health-check/jobs/{id}', { params: { path: { id: 'a/b' } } }),
  );
  expect(body.job.id).toBe('j');
  expect(sent[0]!.url).toBe('https://fleet.example/api/v1/fleet/health-check/jobs/a%2Fb');
  expect(sent[0]!.headers.get('authorization')).toBe('Bearer flt_x');
});

test('without a token it sends none, and leaves the cookie to the browser', async () => {
  const { client, sent } = clientOf(async () => json({}));
  await client.GET('/api/v1/session');
  expect(sent[0]!.headers.get('authorization')).toBeNull();
  expect(sent[0]!.credentials).toBe('same-origin');
});

test('an answer without a body is a success', async () => {
  const { client } = clientOf(async () => new Response(null, { status: 204 }));
  expect((await client.DELETE('/api/v1/session')).data).toBeUndefined();
});

describe('a failure is one error', () => {
  test('that carries what the API said', async () => {
    const { client } = clientOf(async () => json(problem, 422));
    const error = await failureOf(client.GET('/api/v1/session'));
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({ kind: 'refused', status: 422, message: 'name: is required', problem });
  });

  test.each([
    ['an error page of a proxy', new Response('<h1>Bad gateway</h1>', { status: 502 }), 502],
    ['JSON that is no problem', json({ detail: 'no' }, 404), 404],
    ['a page instead of JSON', new Response('<html>', { headers: { 'content-type': 'text/html' } }), 200],
    ['JSON that ends early', new Response('{"a":', { headers: { 'content-type': 'application/json' } }), 200],
  ])('%s is not the API', async (_what, response, status) => {
    const { client } = clientOf(async () => response);
    expect(await failureOf(client.GET('/api/v1/session'))).toMatchObject({
      kind: 'not_the_api',
      status,
      problem: null,
    });
  });

  test('no connection', async () => {
    const { client } = clientOf(() => Promise.reject(new TypeError('fetch failed')));
    expect(await failureOf(client.GET('/api/v1/session'))).toMatchObject({ kind: 'network', status: 0 });
  });

  test('no answer in time', async () => {
    const { client } = clientOf(never, { timeoutMs: 10 });
    const error = await failureOf(client.GET('/api/v1/session'));
    expect(error).toMatchObject({ kind: 'timeout', message: 'The API did not answer within 0.01 s.' });
  });
});

test('what the caller aborts is no failure of the API', async () => {
  const { client } = clientOf(never);
  const abort = new AbortController();
  const asked = failureOf(client.GET('/api/v1/session', { signal: abort.signal }));
  abort.abort();
  expect(await asked).toMatchObject({ name: 'AbortError' });
});

test('nothing is sent twice, whatever became of it', async () => {
  const { client, sent } = clientOf(() => Promise.reject(new TypeError('fetch failed')));
  await failureOf(client.POST('/api/v1/session', { body: { token: 't' } }));
  expect(sent).toHaveLength(1);
});
