import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import type { TSchema } from 'typebox';
import { type App, type AppOptions, startApp } from '../src/app.ts';
import { bootstrap, createSignInLink } from '../src/bootstrap.ts';
import { readSettings, type Settings } from '../src/config.ts';
import { newId, type OrganizationId, type TokenId } from '../src/ids.ts';
import { ensureOrganization, firstOrganization } from '../src/organizations/store.ts';
import type { Role } from '../src/permissions.ts';
import { systemClock } from '../src/platform/clock.ts';
import { Problem } from '../src/platform/http/errors.ts';
import { masterKey } from '../src/platform/keyring.ts';
import { createLog } from '../src/platform/log.ts';
import { routes } from '../src/routes.ts';
import { insertToken } from '../src/tokens/store.ts';
import { hashCredential, mintToken } from '../src/tokens/token.ts';
import { createTestDatabase, type TestDatabase } from './database.ts';

/** An answer. `body` is parsed JSON where it was JSON, and has been checked against the route's schema. */
// biome-ignore lint/suspicious/noExplicitAny: a test looks into bodies of any shape, and says what it expects.
// oxlint-disable-next-line typescript/no-explicit-any
export type Answer = { status: number; headers: Headers; text: string; body: any };
export type Client = {
  token: string;
  get(path: string, headers?: Record<string, string>): Promise<Answer>;
  post(path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  put(path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  patch(path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  delete(path: string, headers?: Record<string, string>): Promise<Answer>;
};

export type TestApp = {
  app: App;
  url: string;
  database: TestDatabase;
  /** Somebody with a token of that role in an organization, which is made when it is not there. */
  as(role: Role, organization?: string): Promise<Client>;
  /** Somebody with this token, or with none. */
  with(token: string | null): Client;
  organization(name: string): Promise<OrganizationId>;
  /** The code behind `/sign-in#link=`. */
  signInLink(): Promise<string>;
  /** Everything logged so far, as JSON lines. */
  logged(): string;
  close(): Promise<void>;
};

export type TestAppOptions = {
  settings?: Partial<Settings>;
  app?: Partial<
    Pick<AppOptions, 'clock' | 'lookup' | 'egressExceptions' | 'instance' | 'pin' | 'maxConnections'>
  >;
  /** To start a second process on the same database, as after a restart. */
  database?: TestDatabase;
  /** Where a process that is not one of these is to read the same secrets. */
  masterKey?: Buffer;
};

/**
 * The real program on a database of its own, listening on a free port. By default it is role `api`, so that
 * no poll disturbs what a test looks at; ask for `role: 'all'` where polling is the point.
 */
export async function startTestApp(options: TestAppOptions = {}): Promise<TestApp> {
  const database = options.database ?? (await createTestDatabase());
  const dataDir = await mkdtemp(join(tmpdir(), 'opsfleet-app-'));
  const lines: string[] = [];
  const settings: Settings = {
    ...readSettings({ OPSFLEET_DATA_DIR: dataDir, OPSFLEET_PORT: '0' }, 1000),
    role: 'api',
    rateLimitPerMinute: 0,
    logLevel: 'info',
    egressAllow: ['127.0.0.0/8'],
    ...options.settings,
  };
  const app = await startApp({
    settings,
    connection: database.connection,
    masterKeys: [masterKey(options.masterKey ?? testMasterKey)],
    clock: systemClock,
    log: createLog({ level: settings.logLevel, destination: { write: line => void lines.push(line) } }),
    instance: null,
    workerName: 'test',
    pin: null,
    ...options.app,
  });
  const url = app.url ?? '';
  const { organizationId } = await bootstrap(app.context);
  const organizations = new Map<string, OrganizationId>([[firstOrganization, organizationId]]);

  async function organization(name: string): Promise<OrganizationId> {
    const known = organizations.get(name);
    if (known !== undefined) return known;
    const at = systemClock.now();
    const made = await ensureOrganization(database.db.system, {
      id: newId<OrganizationId>(at.getTime()),
      name,
      at,
    });
    organizations.set(name, made.id);
    return made.id;
  }

  return {
    app,
    url,
    database,
    async as(role, name = firstOrganization) {
      const token = mintToken();
      const at = systemClock.now();
      await insertToken(database.db.tenant(await organization(name)), {
        id: newId<TokenId>(at.getTime()),
        name: `${role} of ${name}`,
        role,
        hash: hashCredential(token),
        at,
        expiresAt: null,
      });
      return client(url, token);
    },
    with: token => client(url, token),
    organization,
    signInLink: () => createSignInLink(app.context, organizationId),
    logged: () => lines.join(''),
    async close() {
      await app.stop();
      if (options.database === undefined) await database.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** The same for every app of a run: a second one on the same database must be able to read its secrets. */
const testMasterKey = randomBytes(32);

function client(url: string, token: string | null): Client {
  const call = async (
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> => {
    const response = await fetch(url + path, {
      method,
      redirect: 'manual',
      headers: {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    // And not where it is a line of JSON after the other.
    const isJson = /[/+]json/.test(response.headers.get('content-type') ?? '');
    const answer: Answer = {
      status: response.status,
      headers: response.headers,
      text,
      body: isJson ? JSON.parse(text) : undefined,
    };
    checkAnswer(method, path, answer);
    return answer;
  };
  return {
    token: token ?? '',
    get: (path, headers) => call('GET', path, undefined, headers),
    post: (path, body, headers) => call('POST', path, body, headers),
    put: (path, body, headers) => call('PUT', path, body, headers),
    patch: (path, body, headers) => call('PATCH', path, body, headers),
    delete: (path, headers) => call('DELETE', path, undefined, headers),
  };
}

const ajv = new Ajv2020({ allErrors: true, strict: false });
(formats as unknown as (instance: unknown) => void)(ajv);
const compiled = new Map<TSchema, ValidateFunction>();

/** Every answer of every test is held against the contract: its schema if it succeeded, a problem if not. */
function checkAnswer(method: string, path: string, answer: Answer): void {
  const pathname = path.split('?')[0]!;
  const route = routes.find(
    each =>
      each.method === method && new RegExp(`^${each.path.replaceAll(/:[a-z_]+/g, '[^/]+')}$`).test(pathname),
  );
  if (route === undefined && answer.status < 400) return;
  const schema = answer.status >= 400 ? Problem : route?.replies[answer.status];
  if (schema === undefined)
    throw new Error(`${method} ${path} answered ${answer.status}, which it does not declare`);
  if (schema === null) {
    if (answer.text !== '') throw new Error(`${method} ${path} has a body where it declares none`);
    return;
  }
  if (answer.body === undefined) return;
  const validate = compiled.get(schema) ?? ajv.compile(schema);
  compiled.set(schema, validate);
  if (!validate(answer.body)) {
    throw new Error(
      `${method} ${path} breaks its contract: ${ajv.errorsText(validate.errors)}\n${answer.text.slice(0, 2000)}`,
    );
  }
}
