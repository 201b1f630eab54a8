import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { StartupError } from './errors.ts';
import { type MasterKeys, masterKey } from './keyring.ts';
import type { Log } from './log.ts';
import { createPrivateFile, readPrivateFile } from './private-file.ts';

export type MasterKeySource = {
  /** The value of OPSFLEET_MASTER_KEY. */
  fromEnvironment?: string | null;
  /** The path in OPSFLEET_MASTER_KEY_FILE. */
  file?: string | null;
  dataDir: string;
  log: Log;
};

/**
 * The master keys from the environment, from a file, or from `<dataDir>/master-key`, which is generated on
 * the first start. Each source holds one key or several, separated by commas: the first encrypts from now
 * on, the others still decrypt (rotation). A key is 32 bytes in hexadecimal or base64. Throws a StartupError
 * that names the setting, and never the key.
 */
export async function loadMasterKeys(source: MasterKeySource): Promise<MasterKeys> {
  const { fromEnvironment, file, dataDir, log } = source;
  if (fromEnvironment && file) {
    throw new StartupError('Set OPSFLEET_MASTER_KEY or OPSFLEET_MASTER_KEY_FILE, not both.');
  }
  if (fromEnvironment) return parseMasterKeys(fromEnvironment, 'OPSFLEET_MASTER_KEY');
  if (file) return readMasterKeys(file, `OPSFLEET_MASTER_KEY_FILE (${file})`);
  const path = join(dataDir, 'master-key');
  if (await createPrivateFile(path, `${randomBytes(32).toString('base64')}\n`)) {
    log.warn(
      { file: path },
      'generated the master key; back it up with the database: a backup without it cannot be read',
    );
  }
  return readMasterKeys(path, `the master key file ${path}`);
}

function parseMasterKeys(text: string, setting: string): MasterKeys {
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

async function readMasterKeys(path: string, setting: string): Promise<MasterKeys> {
  const text = await readPrivateFile(path, setting);
  if (text === null) throw new StartupError(`${setting} cannot be read (ENOENT).`);
  return parseMasterKeys(text, setting);
}
