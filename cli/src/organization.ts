import { announceOnce } from '../../server/src/events/feed.ts';
import { newId, type OrganizationId, parseId, type TokenId } from '../../server/src/ids.ts';
import { deleteOrganization } from '../../server/src/organizations/deletion-store.ts';
import {
  firstOrganization,
  insertOrganization,
  type ListedOrganization,
  listOrganizations,
} from '../../server/src/organizations/store.ts';
import type { Database, SystemDb } from '../../server/src/platform/db.ts';
import { StartupError } from '../../server/src/platform/errors.ts';
import { insertToken } from '../../server/src/tokens/store.ts';
import { hashCredential, mintToken } from '../../server/src/tokens/token.ts';
import { withInstallation } from './database.ts';
import { type Flags, oneOfCommands, runStoreCommand, type StoreCommand } from './store-command.ts';

const USAGE = `Usage: npm run opsfleet -- organization list
       npm run opsfleet -- organization create --name NAME
       npm run opsfleet -- organization delete --name NAME --confirm NAME
       npm run opsfleet -- organization delete --id ID --confirm ID

list tells which organizations there are, and how far those are that are being deleted. create makes one, and an API token
that administers it, which is shown only then. delete hides one at once, with its tokens, sessions and live streams; all
that it had is removed by the opsfleet that runs, in the background, and is looked for a last time an hour after. All work
on the database that DATABASE_URL names, or on the embedded one of an opsfleet that runs.

  --name NAME     1 to 100 characters
  --id ID         as list tells it
  --confirm TEXT  the same name or id once more: there is no way back but a backup
  --data-dir DIR  the data directory (OPSFLEET_DATA_DIR, or where npm start has it)

Exit code: 0 done, 1 failed, 2 wrong flags, 130 and 143 interrupted.`;

const listFlags = { 'data-dir': { type: 'string' } } as const satisfies Flags;

const list: StoreCommand<typeof listFlags> = {
  name: 'organization list',
  usage: USAGE,
  flags: listFlags,
  required: null,
  needsEmbedded: false,
  run: (_flags, parts) =>
    withInstallation(parts, async ({ system }) => {
      const organizations = await listOrganizations(system);
      return organizations.length === 0
        ? 'There are no organizations.'
        : organizations.map(lineOf).join('\n');
    }),
};

const lineOf = (organization: ListedOrganization): string => {
  const { name, id, servers, createdAt } = organization;
  return `${name}  ${id}  ${servers} servers  created ${createdAt.toISOString()}${progressOf(organization)}`;
};

function progressOf({ servers, deletedAt, clearedAt }: ListedOrganization): string {
  if (deletedAt === null) return '';
  const since = `  deleted ${deletedAt.toISOString()}, `;
  if (clearedAt !== null)
    return `${since}removed ${clearedAt.toISOString()}, looked for once more an hour after`;
  return `${since}${servers > 0 ? 'its servers are being removed' : 'what else it had is being removed'}`;
}

const createFlags = { name: { type: 'string' }, 'data-dir': { type: 'string' } } as const satisfies Flags;

const create: StoreCommand<typeof createFlags> = {
  name: 'organization create',
  usage: USAGE,
  flags: createFlags,
  required: 'name',
  needsEmbedded: false,
  run(flags, parts) {
    const name = nameOf(flags.name!);
    return withInstallation(parts, async db => {
      const { id, token } = await createOrganization(db, name, parts.clock.now());
      return `${name}: created with the id ${id}. The API token that administers it, shown only now:\n${token}`;
    });
  },
};

/** A name that can be read in a list and typed again. */
function nameOf(text: string): string {
  if (text.length <= 100 && text === text.trim() && !/\p{C}/u.test(text)) return text;
  throw new StartupError(
    '--name must be 1 to 100 characters, none of them invisible, and neither begin nor end with a space.',
  );
}

/** The organization and its first token, both or neither. */
async function createOrganization(
  db: Database,
  name: string,
  at: Date,
): Promise<{ id: OrganizationId; token: string }> {
  const id = newId<OrganizationId>(at.getTime());
  const token = mintToken();
  const isMade = await db.tenant(id).transaction(async tx => {
    if (!(await insertOrganization(tx, { name, at }))) return false;
    await insertToken(tx, {
      id: newId<TokenId>(at.getTime()),
      name: 'organization create',
      role: 'admin',
      hash: hashCredential(token),
      at,
      expiresAt: null,
    });
    return true;
  });
  if (!isMade) throw new StartupError(`There is an organization "${name}" already.`);
  return { id, token };
}

const deleteFlags = {
  name: { type: 'string' },
  id: { type: 'string' },
  confirm: { type: 'string' },
  'data-dir': { type: 'string' },
} as const satisfies Flags;

const remove: StoreCommand<typeof deleteFlags> = {
  name: 'organization delete',
  usage: USAGE,
  flags: deleteFlags,
  required: 'confirm',
  needsEmbedded: false,
  run({ name, id, confirm }, parts) {
    if ((name === undefined) === (id === undefined)) throw new StartupError('Say which: --name or --id.');
    const asked = name ?? id!;
    if (confirm !== asked)
      throw new StartupError(`--confirm is not "${asked}". Nothing was deleted: say the same twice.`);
    return withInstallation(parts, async ({ system }) => {
      const found = await find(system, name === undefined ? { id: id! } : { name });
      if (found === undefined)
        throw new StartupError(
          `There is no organization "${asked}". "organization list" tells which there are.`,
        );
      if (found.name === firstOrganization)
        throw new StartupError(
          `"${firstOrganization}" cannot be deleted: every start of opsfleet makes it where there is none.`,
        );
      if ((await deleteOrganization(system, found.id, parts.clock.now())) === null)
        throw new StartupError(`"${asked}" has been deleted by somebody else just now.`);
      await announceOnce(system);
      return [
        `${found.name} (${found.id}): hidden. Its tokens and sessions are refused, and its name is free.`,
        `Its ${found.servers} servers and all else that it had are being removed by the opsfleet that runs; "organization list" tells how far.`,
        'What has been archived and backed up still has it, until you delete those files.',
      ].join('\n');
    });
  },
};

async function find(
  db: SystemDb,
  which: { name: string } | { id: string },
): Promise<ListedOrganization | undefined> {
  const there = (await listOrganizations(db)).filter(({ deletedAt }) => deletedAt === null);
  if ('name' in which) return there.find(({ name }) => name === which.name);
  const id = parseId<OrganizationId>(which.id);
  return there.find(each => each.id === id);
}

/** `opsfleet organization`. Returns the exit code. */
export const organizationCommand = oneOfCommands('organization', USAGE, {
  list: argv => runStoreCommand(list, argv),
  create: argv => runStoreCommand(create, argv),
  delete: argv => runStoreCommand(remove, argv),
});
