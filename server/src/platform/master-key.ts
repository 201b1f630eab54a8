import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { StartupError } from './errors.ts';
import { type MasterKeys, masterKey, Secret } from './keyring.ts';
import type { Log } from './log.ts';
import { createPrivateFile, readPrivateFile, replacePrivateFile } from './private-file.ts';

export type MasterKeySource = {
  /** The value of OPSFLEET_MASTER_KEY. */
  fromEnvironment?: string | null;
  /** The path in OPSFLEET_MASTER_KEY_FILE. */
  file?: string | null;
  dataDir: string;
};

/**
 * The master keys from the environment, from a file, or from `<dataDir>/master-key`, which is generated on
 * the first start. Each source holds one key or several, separated by commas: the first encrypts from now
 * on, the others still decrypt (rotation). A key is 32 bytes in hexadecimal or base64. Throws a StartupError
 * that names the setting, and never the key.
 */
export async function loadMasterKeys(source: MasterKeySource & { log: Log }): Promise<MasterKeys> {
  if (!source.fromEnvironment && !source.file) {
    const path = masterKeyFile(source.dataDir);
    if (await createPrivateFile(path, `${randomBytes(32).toString('base64')}\n`)) {
      source.log.warn(
        { file: path },
        'generated the master key; keep a copy of it apart from the backups: a backup without it cannot be read',
      );
    }
  }
  const found = await findMasterKeys(source);
  if (found === null) throw new StartupError(`${masterKeyFile(source.dataDir)} cannot be read (ENOENT).`);
  return found.keys;
}

/** Master keys, the text that they stand in, and a name of where that is. */
export type FoundMasterKeys = { keys: MasterKeys; text: Secret; place: string };

/** As `loadMasterKeys`, but it makes none: null where there is no setting and no file in the data directory. */
export async function findMasterKeys(source: MasterKeySource): Promise<FoundMasterKeys | null> {
  const { fromEnvironment, file, dataDir } = source;
  if (fromEnvironment && file) {
    throw new StartupError('Set OPSFLEET_MASTER_KEY or OPSFLEET_MASTER_KEY_FILE, not both.');
  }
  if (fromEnvironment) return found(fromEnvironment, 'OPSFLEET_MASTER_KEY');
  if (file) {
    const place = `OPSFLEET_MASTER_KEY_FILE (${file})`;
    const text = await readPrivateFile(file, place);
    if (text === null) throw new StartupError(`${place} cannot be read (ENOENT).`);
    return found(text, place);
  }
  const place = `the master key file ${masterKeyFile(dataDir)}`;
  const text = await readPrivateFile(masterKeyFile(dataDir), place);
  return text === null ? null : found(text, place);
}

const masterKeyFile = (dataDir: string): string => join(dataDir, 'master-key');

const found = (text: string, place: string): FoundMasterKeys => ({
  keys: parseMasterKeys(text, place),
  text: new Secret(text.trim()),
  place,
});

/**
 * Adds keys to those of `<dataDir>/master-key`, behind what is there: they decrypt, and what is there still
 * encrypts. Makes the file where there is none.
 */
export async function addMasterKeys(dataDir: string, text: Secret): Promise<void> {
  const path = masterKeyFile(dataDir);
  const present = await readPrivateFile(path, `the master key file ${path}`);
  const all = [...(present === null ? [] : [present.trim()]), text.reveal()].join(',');
  await replacePrivateFile(path, `${all}\n`);
}

/** Parses the text of master keys that comes from somewhere else. `place` names it in an error. */
export function parseMasterKeys(text: string, setting: string): MasterKeys {
  const [first, ...others] = text.split(',');
  const parse = (part: string, index: number) => {
    const which = others.length === 0 ? setting : `${setting}, key ${index + 1} of ${others.length + 1},`;
    const bytes = decode(part.trim());
    if (bytes === null) {
      throw new StartupError(`${which} must be 32 bytes as 64 hexadecimal digits or 44 base64 characters.`);
    }
    if (bytes.every(byte => byte === bytes[0])) {
      throw new StartupError(`${which} is the same byte 32 times. Make a key with: openssl rand -hex 32`);
    }
    return masterKey(bytes);
  };
  return [parse(first!, 0), ...others.map((part, index) => parse(part, index + 1))];
}

function decode(text: string): Buffer | null {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex');
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(text)) return Buffer.from(text, 'base64');
  return null;
}
