/**
 * The advisory locks of a database, by what they are for. Any numbers will do, as long as no two are alike and every
 * process that works on the database has the same ones; two that were alike would keep what has nothing to do with each
 * other waiting.
 */
export const advisoryLocks = {
  migration: 7_700_001,
  partitions: 7_700_002,
  stepDown: 7_700_003,
  pinning: 7_700_004,
  expiry: 7_700_005,
  organizationRemoval: 7_700_006,
} as const;
