import { type Static, type TObject, Type } from 'typebox';
import { type GroupId, type OrganizationId, parseId, type ServerId } from '../ids.ts';
import { type Sql, sql, type TenantTx } from '../platform/db.ts';
import { AppError } from '../platform/errors.ts';
import { encodeCursor } from '../platform/page.ts';
import { cursorOf, filterOf, serverFilterBody, serverFilterQuery } from '../servers/list.ts';
import {
  afterCondition,
  knownServers,
  type ServerCursor,
  type ServerFilter,
  serverConditions,
} from '../servers/store.ts';
import { groupIdOf, groupNotFound } from './member-routes.ts';
import { groupExists, isInGroup } from './store.ts';

/** Servers of an organization: those to which all of it applies. */
export type ServerSelection = { ids?: readonly ServerId[]; groupId?: GroupId; filter: ServerFilter };

const maxIds = 1_000;
const maxErrors = 20;

const GroupIdField = Type.Optional(Type.String({ description: 'A group: its members now.' }));

/** Which servers are meant, in a body. */
export const ServerSelectionBody = Type.Object(
  {
    ids: Type.Optional(Type.Array(Type.String(), { minItems: 1, maxItems: maxIds })),
    group_id: GroupIdField,
    ...serverFilterBody,
  },
  {
    title: 'ServerSelection',
    additionalProperties: false,
    description: 'Servers to which all of it applies; without any of it, all of the organization.',
  },
);

/** The same as query parameters, but for ids. */
export const serverSelectionQuery = { group_id: GroupIdField, ...serverFilterQuery };

type SelectionBody = Static<typeof ServerSelectionBody> | Static<TObject<typeof serverSelectionQuery>>;

/** What a request selects. Ids that are none of the organization are `invalid`, by their places; such a group is `not_found`. */
export async function selectionOf(db: TenantTx, body: SelectionBody, pointer = ''): Promise<ServerSelection> {
  const { group_id: groupText, ids: idTexts, ...filter } = body as Static<typeof ServerSelectionBody>;
  const selection: ServerSelection = { filter: filterOf(filter) };
  if (groupText !== undefined) {
    selection.groupId = groupIdOf(groupText);
    if (!(await groupExists(db, selection.groupId))) throw groupNotFound();
  }
  if (idTexts !== undefined) {
    const ids = idTexts.map(text => parseId<ServerId>(text));
    const known = await knownServers(
      db,
      ids.filter(id => id !== null),
    );
    const places = [...ids.keys()].filter(place => !known.has(ids[place] as ServerId));
    if (places.length > 0) throw unknownServers(places, pointer);
    selection.ids = [...known];
  }
  return selection;
}

function unknownServers(places: readonly number[], pointer: string): AppError {
  return new AppError('invalid', `${places.length} of the ids are no servers of this organization`, {
    errors: places.slice(0, maxErrors).map(place => ({
      pointer: `${pointer}/ids/${place}`,
      detail: 'is no server of this organization',
    })),
  });
}

/** The conditions of a selection over the alias `s`, the organization first. */
export function isSelected(
  organizationId: OrganizationId,
  { ids, groupId, filter }: ServerSelection,
): Sql<unknown> {
  return sql.join(
    [
      serverConditions(organizationId, filter),
      ...(ids === undefined ? [] : [sql`s.id = any(${ids}::uuid[])`]),
      ...(groupId === undefined ? [] : [isInGroup(groupId)]),
    ],
    sql` and `,
  );
}

export type NamedServer = { id: ServerId; name: string };

/** How many servers are selected. */
export async function countSelected(db: TenantTx, selection: ServerSelection): Promise<number> {
  const { count } = await db.one(sql<{ count: number }>`
    select count(*)::int as count from managed_servers s where ${isSelected(db.organizationId, selection)}`);
  return count;
}

/** Selected servers by name, after one of them. */
function listSelected(
  db: TenantTx,
  selection: ServerSelection,
  { limit, after }: { limit: number; after: ServerCursor | null },
): Promise<NamedServer[]> {
  return db.many(sql<NamedServer>`
    select s.id, s.name from managed_servers s
    where ${isSelected(db.organizationId, selection)} ${after === null ? sql`` : sql`and ${afterCondition('name', after)}`}
    order by s.name, s.id limit ${limit}`);
}

/** A page of the selected servers by name, and where the next one starts. `pointer`: where the request has the cursor. */
export async function pageOfSelected(
  db: TenantTx,
  selection: ServerSelection,
  { limit, cursor, pointer }: { limit: number; cursor: string | undefined; pointer: string },
): Promise<{ page: NamedServer[]; next: string | null }> {
  const after = cursor === undefined ? null : cursorOf(cursor, 'name', pointer);
  const page = await listSelected(db, selection, { limit: limit + 1, after });
  const isMore = page.length > limit;
  if (isMore) page.pop();
  const last = page.at(-1);
  const next =
    isMore && last !== undefined ? encodeCursor({ sort: 'name', key: last.name, id: last.id }) : null;
  return { page, next };
}

/**
 * All selected servers, so many at once, in the order of their ids: an id never changes, so that nobody comes twice or is
 * passed over who gets another name meanwhile.
 */
export async function* eachOfSelected(
  db: TenantTx,
  selection: ServerSelection,
  atOnce: number,
): AsyncGenerator<NamedServer[]> {
  for (let after: ServerId | null = null; ; ) {
    const servers: NamedServer[] = await db.many(sql<NamedServer>`
      select s.id, s.name from managed_servers s
      where ${isSelected(db.organizationId, selection)} ${after === null ? sql`` : sql`and s.id > ${after}`}
      order by s.id limit ${atOnce}`);
    if (servers.length > 0) yield servers;
    if (servers.length < atOnce) return;
    after = servers.at(-1)!.id;
  }
}

/**
 * The same pages of a selection. A group that is deleted while they are read selects nobody from then on, and what was
 * read until then would look like all of it: they end as `not_found` instead.
 */
export async function* ofLasting<Page>(
  db: TenantTx,
  { groupId }: ServerSelection,
  pages: AsyncIterable<Page>,
): AsyncGenerator<Page> {
  yield* pages;
  if (groupId !== undefined && !(await groupExists(db, groupId))) throw groupNotFound();
}
