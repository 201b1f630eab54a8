import { components } from '../../../server/openapi.json';
import type { JsonSchema } from './schema.ts';

/** What the API takes, out of its own description: the forms cannot say anything else. */
export const serverRegistration: JsonSchema = components.schemas.ServerRegistration;
export const serverUpdate: JsonSchema = components.schemas.ServerUpdate;
