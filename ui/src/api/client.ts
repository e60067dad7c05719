// The API by its description: a path, a field or an answer that changes there no longer compiles here.
import type { components, paths } from "./schema";
import { renewToken, token } from "./token";

export type Schemas = components["schemas"];
export type InterpreterCard = Schemas["oneiro__interpreters__models__Card"];
export type HelpCard = Schemas["oneiro__safety__cards__Card"];
export type HelpLine = Schemas["Line"];
export type Started = Schemas["Started"];
export type Talk = Schemas["Conversation"];
export type Message = Schemas["Message"];
export type Dream = Schemas["Dream"];
export type Dreamer = Schemas["Dreamer"];
export type Insights = Schemas["Insights"];
export type Recurring = Schemas["Recurring"];

type Method = "get" | "post" | "put" | "patch" | "delete";
type PathsWith<M extends Method> = {
  [P in keyof paths]: paths[P] extends Record<M, { responses: object }> ? P : never;
}[keyof paths];
type Operation<P extends keyof paths, M extends Method> = paths[P] extends Record<M, infer O> ? O : never;
type Content<T> = T extends { content: { "application/json": infer B } } ? B : undefined;
type Answer<O> = O extends { responses: infer R } ? Content<R[keyof R & (200 | 201 | 202 | 204)]> : never;
type Body<O> = O extends { requestBody?: infer B } ? Content<NonNullable<B>> : undefined;
type PathOf<O> = O extends { parameters: { path: infer P } } ? P : undefined;
type QueryOf<O> = O extends { parameters: { query?: infer Q } } ? Q : undefined;

export interface Ask<O> {
  path?: PathOf<O>;
  query?: QueryOf<O>;
  body?: Body<O>;
  once?: string;
  keepalive?: boolean;
}

/** What went wrong, as the API says it; `status` 0 means that nothing was reached. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    /** Seconds after which to come again, where the API says so. */
    readonly retryAfter: number | null = null,
  ) {
    super(detail);
  }

  get unreachable(): boolean {
    return this.status === 0 || this.status === 503 || this.status === 502;
  }
}

export async function ask<M extends Method, P extends PathsWith<M>>(
  method: M,
  path: P,
  options: Ask<Operation<P, M>> = {},
): Promise<Answer<Operation<P, M>>> {
  const response = await reach(method, path, options);
  return (response.status === 204 ? undefined : await response.json()) as Answer<Operation<P, M>>;
}

/** A file of the API, as it comes. */
export async function file(path: PathsWith<"get">): Promise<Blob> {
  return (await reach("get", path, {})).blob();
}

/** The answer to a request, whose token is renewed once where it has run out. Throws a Problem. */
export async function reach(method: Method, path: string, options: Raw): Promise<Response> {
  let response = await send(method, path, options, await token());
  if (response.status === 401) response = await send(method, path, options, await renewToken());
  if (!response.ok) throw await problem(response);
  return response;
}

interface Raw {
  path?: unknown;
  query?: unknown;
  body?: unknown;
  once?: string;
  keepalive?: boolean;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

async function send(method: string, path: string, options: Raw, bearer: string | null): Promise<Response> {
  const headers = new Headers(options.headers);
  if (bearer) headers.set("Authorization", `Bearer ${bearer}`);
  if (options.body !== undefined) headers.set("Content-Type", "application/json");
  if (options.once) headers.set("Idempotency-Key", options.once);
  const request: RequestInit = { method: method.toUpperCase(), headers, keepalive: options.keepalive ?? false };
  if (options.signal) request.signal = options.signal;
  if (options.body !== undefined) request.body = JSON.stringify(options.body);
  try {
    return await fetch(filled(path, options.path) + asked(options.query), request);
  } catch {
    throw new Problem(0, "offline", "The connection is away just now.");
  }
}

const filled = (path: string, values: unknown): string =>
  path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(String((values as Record<string, unknown>)[name])));

function asked(query: unknown): string {
  const values = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null);
  return values.length ? `?${new URLSearchParams(values.map(([name, value]) => [name, String(value)]))}` : "";
}

async function problem(response: Response): Promise<Problem> {
  try {
    const body = (await response.json()) as { code?: string; detail?: string; retry_after?: number };
    return new Problem(response.status, body.code ?? "unknown", body.detail ?? response.statusText, body.retry_after ?? null);
  } catch {
    return new Problem(response.status, "unknown", response.statusText);
  }
}

/** All items of a list, page by page. */
export async function everything<T>(
  page: (cursor: string | undefined) => Promise<{ items: T[]; next_cursor?: string | null }>,
): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | undefined;
  do {
    const answer = await page(cursor);
    items.push(...answer.items);
    cursor = answer.next_cursor ?? undefined;
  } while (cursor);
  return items;
}
