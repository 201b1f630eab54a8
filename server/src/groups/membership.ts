import type { Context } from '../context.ts';
import { append } from '../events/outbox.ts';
import { type GroupId, parseId, type ServerId } from '../ids.ts';
import type { TenantDb } from '../platform/db.ts';
import { addMembers, holdServers, lockGroup, removeMember } from './store.ts';

export type AddResult =
  | { ok: true }
  | { ok: false; reason: 'no_group' }
  /** Places in the list whose ids are no servers of the organization: malformed, missing or another's. */
  | { ok: false; reason: 'no_server'; places: readonly number[] };

/** Makes servers fixed members of a group, all or none; those that are members already stay so. */
export async function addToGroup(
  { clock, feed }: Context,
  db: TenantDb,
  id: GroupId,
  serverIds: readonly string[],
): Promise<AddResult> {
  const ids = serverIds.map(text => parseId<ServerId>(text));
  const at = clock.now();
  const result = await db.transaction(async (tx): Promise<AddResult> => {
    if ((await lockGroup(tx, id)) === null) return { ok: false, reason: 'no_group' };
    const held = await holdServers(
      tx,
      ids.filter(each => each !== null),
    );
    const places = [...ids.keys()].filter(place => !held.has(ids[place] as ServerId));
    if (places.length > 0) return { ok: false, reason: 'no_server', places };
    const added = await addMembers(tx, id, [...held], at);
    if (added.length > 0) {
      await append(tx, at, [{ type: 'group.members_changed', subject: id, data: { added, removed: [] } }]);
    }
    return { ok: true };
  });
  if (result.ok) feed.announce();
  return result;
}

export type RemoveResult = { ok: true } | { ok: false; reason: 'no_group' | 'no_server' };

/** Ends the fixed membership of a server, if there is one. A server that matches the criteria stays in the group. */
export async function removeFromGroup(
  { clock, feed }: Context,
  db: TenantDb,
  id: GroupId,
  serverId: ServerId,
): Promise<RemoveResult> {
  const at = clock.now();
  const result = await db.transaction(async (tx): Promise<RemoveResult> => {
    if ((await lockGroup(tx, id)) === null) return { ok: false, reason: 'no_group' };
    if (!(await holdServers(tx, [serverId])).has(serverId)) return { ok: false, reason: 'no_server' };
    if (await removeMember(tx, id, serverId)) {
      await append(tx, at, [
        { type: 'group.members_changed', subject: id, data: { added: [], removed: [serverId] } },
      ]);
    }
    return { ok: true };
  });
  if (result.ok) feed.announce();
  return result;
}
