import { type Static, type TObject, Type } from 'typebox';
import type { Context } from '../context.ts';
import { healthStatuses } from '../events/event.ts';
import { parseId } from '../ids.ts';
import { invalidField } from '../platform/http/errors.ts';
import { oneOf } from '../platform/http/schemas.ts';
import { parseInstant } from '../platform/instant.ts';
import { decodeCursor } from '../platform/page.ts';
import { createRecent } from '../platform/recent.ts';
import { serverStatuses, Tags } from './server.ts';
import { type ServerCursor, type ServerFilter, type ServerOrder, serverOrders } from './store.ts';

/** What a list of servers can be narrowed by. */
export const serverFilterQuery = {
  status: Type.Optional(oneOf(serverStatuses)),
  health_status: Type.Optional(oneOf(healthStatuses)),
  region: Type.Optional(Type.String({ maxLength: 100 })),
  environment: Type.Optional(Type.String({ maxLength: 50 })),
  tags: Type.Optional(Type.String({ maxLength: 2000, description: 'Tags, comma separated.' })),
  tags_match: Type.Optional(
    oneOf(['all', 'any'], { description: 'Whether all tags (the default) or any must be there.' }),
  ),
  search: Type.Optional(
    Type.String({ maxLength: 200, description: 'Part of the name, host name, region or environment.' }),
  ),
};

export const ListQuery = Type.Object(
  {
    ...serverFilterQuery,
    sort: Type.Optional(oneOf(serverOrders, { description: 'newest (the default) or name.' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, description: 'Default 100.' })),
    offset: Type.Optional(
      Type.Integer({ minimum: 0, maximum: 1_000_000, description: 'Default 0. Prefer cursor.' }),
    ),
    cursor: Type.Optional(Type.String({ maxLength: 1000, description: 'next_cursor of the page before.' })),
  },
  { additionalProperties: false },
);

const { tags: _commaSeparated, ...filterBody } = serverFilterQuery;

/** The same in a body, where tags are a list. */
export const serverFilterBody = { ...filterBody, tags: Type.Optional(Tags) };

type FilterQuery = Static<TObject<typeof serverFilterQuery>>;

/** What a query asks for: blanks left out, tags trimmed. */
export function filterOf(
  query: Omit<FilterQuery, 'tags'> & { tags?: string | readonly string[] },
): ServerFilter {
  const { status, health_status: healthStatus, region, environment, tags_match: match = 'all' } = query;
  const named = typeof query.tags === 'string' ? query.tags.split(',') : (query.tags ?? []);
  const tags = named.map(tag => tag.trim()).filter(Boolean);
  const search = query.search?.trim();
  return {
    ...(status === undefined ? {} : { status }),
    ...(healthStatus === undefined ? {} : { healthStatus }),
    ...(region === undefined ? {} : { region }),
    ...(environment === undefined ? {} : { environment }),
    ...(tags.length === 0 ? {} : { tags: { match, values: tags } }),
    ...(search ? { search } : {}),
  };
}

const isServerCursor = (value: unknown): value is ServerCursor => {
  const { key, id } = (value ?? {}) as { key?: unknown; id?: unknown };
  return (
    typeof key === 'string' &&
    key.length <= 255 &&
    // What PostgreSQL could not compare a name with.
    key.isWellFormed() &&
    !key.includes('\0') &&
    typeof id === 'string' &&
    parseId(id) !== null
  );
};

/** Whether `created_at::text`, as a cursor holds it, is one: in UTC, to the microsecond. */
const isTimeKey = (key: string): boolean =>
  /^[12]\d{3}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?\+00$/.test(key) &&
  parseInstant(`${key.slice(0, -3).replace(' ', 'T')}Z`) !== null;

/** Counting 5,000 rows costs more than reading 100 of them; a count up to a second old serves everybody. */
const maxCountAgeMs = 1_000;
const perContext = new WeakMap<Context, ReturnType<typeof createCounts>>();
const createCounts = ({ clock }: Context) => ({
  total: createRecent<number>({ clock, maxAgeMs: maxCountAgeMs, maxEntries: 1_000 }),
  summary: createRecent<string>({ clock, maxAgeMs: maxCountAgeMs, maxEntries: 1_000 }),
});

export function counts(context: Context): ReturnType<typeof createCounts> {
  const known = perContext.get(context) ?? createCounts(context);
  perContext.set(context, known);
  return known;
}

/** The place a cursor of this order names; anything else is `invalid`. */
export function cursorOf(text: string, sort: ServerOrder, pointer = '/query/cursor'): ServerCursor {
  const cursor = decodeCursor(text, isServerCursor, pointer);
  if ((cursor as { sort?: unknown }).sort !== sort) throw invalidField(pointer, 'belongs to another order');
  if (sort === 'newest' && !isTimeKey(cursor.key))
    throw invalidField(pointer, 'is not a cursor of this list');
  return cursor;
}
