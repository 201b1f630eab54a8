import type { FastifyReply } from 'fastify';
import type { Static, TObject, TSchema } from 'typebox';
import type { Context } from '../../context.ts';
import type { OrganizationId } from '../../ids.ts';
import type { Role, RoutePermission } from '../../permissions.ts';
import type { TenantDb } from '../db.ts';

/** Who asks: an API token or a browser session, always of exactly one organization. */
export type Principal = {
  kind: 'token' | 'session';
  id: string;
  /** For people: the token's name, or "browser session". */
  name: string;
  organizationId: OrganizationId;
  role: Role;
};

/** JSON that the database built, sent as it is. */
export type JsonText = { readonly jsonText: string };

/** Node's response, without the framework around it. */
export type RawResponse = FastifyReply['raw'];

/** An answer that stays open: the handler writes to the raw response until the signal aborts. */
export type OpenStream = (raw: { response: RawResponse; signal: AbortSignal }) => void;

/** A file that is made while it is sent. Where that fails in the middle, the connection ends without its end. */
export type Download = { download: { name: string; type: string; chunks: AsyncIterable<string> } };

export type Reply =
  | { status: number; body: unknown; headers?: Record<string, string> }
  | { status: number; json: JsonText; headers?: Record<string, string> }
  | Download
  | { stream: OpenStream };

export type RouteInput<P extends TObject, Q extends TObject, B extends TSchema> = {
  params: Static<P>;
  query: Static<Q>;
  body: Static<B>;
  /** Request headers, names in lower case. */
  headers: Readonly<Record<string, string | string[] | undefined>>;
  remoteAddress: string;
  secure: boolean;
};

export type SignedIn = { principal: Principal; db: TenantDb };

type Declaration<P extends TObject, Q extends TObject, B extends TSchema> = {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** `/api/v1/fleet/servers/:id` */
  path: string;
  /** One line for the reference page. */
  summary: string;
  description?: string;
  tag: string;
  /** Required: the program does not start with a route that leaves it out. */
  permission: RoutePermission;
  params?: P;
  query?: Q;
  body?: B;
  /** Schema of each answer by status code; null for an answer without a body. */
  replies: Record<number, TSchema | null>;
  /** A first line of defence below the overall limit, in requests a minute and caller. */
  rateLimitPerMinute?: number;
};

/** A route as the server mounts it; the types of its parts have been checked by `route` or `publicRoute`. */
export type Route = Declaration<TObject, TObject, TSchema> & {
  handler(
    context: Context,
    input: RouteInput<TObject, TObject, TSchema>,
    who: SignedIn | null,
  ): Promise<Reply>;
};

/** Declares a route for signed-in callers: method, path, permission, schemas and handler together. */
export function route<P extends TObject, Q extends TObject, B extends TSchema>(
  declaration: Declaration<P, Q, B> & {
    permission: Exclude<RoutePermission, 'public'>;
    handler(context: Context, input: RouteInput<P, Q, B>, who: SignedIn): Promise<Reply>;
  },
): Route {
  return declaration;
}

/** Declares a route that anybody may call. */
export function publicRoute<P extends TObject, Q extends TObject, B extends TSchema>(
  declaration: Omit<Declaration<P, Q, B>, 'permission'> & {
    handler(context: Context, input: RouteInput<P, Q, B>, who: SignedIn | null): Promise<Reply>;
  },
): Route {
  return { ...declaration, permission: 'public' } as unknown as Route;
}

export const ok = (body: unknown, headers?: Record<string, string>): Reply => reply(200, body, headers);
export const created = (body: unknown, headers?: Record<string, string>): Reply => reply(201, body, headers);
export const accepted = (body: unknown, headers?: Record<string, string>): Reply => reply(202, body, headers);
export const noContent = (): Reply => ({ status: 204, body: undefined });

function reply(status: number, body: unknown, headers: Record<string, string> | undefined): Reply {
  return headers === undefined ? { status, body } : { status, body, headers };
}

/** 200 with JSON text that the database built. */
export const okJson = (jsonText: string, headers?: Record<string, string>): Reply =>
  headers === undefined ? { status: 200, json: { jsonText } } : { status: 200, json: { jsonText }, headers };
