import { type Static, type TObject, Type } from 'typebox';
import { type GroupId, type OrganizationId, parseId, type ServerId } from '../ids.ts';
import { type Sql, sql, type TenantTx } from '../platform/db.ts';
import { AppError } from '../platform/errors.ts';
import { filterOf, serverFilterBody, serverFilterQuery } from '../servers/list.ts';
import { knownServers, type ServerFilter, serverConditions } from '../servers/store.ts';
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
