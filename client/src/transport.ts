/** How events leave the browser: the types of the wire, and the transport that uses `fetch`. */

/** The wire's `EventCreateInput` (requirement 6.2). */
export interface EventInput {
  readonly eventType: string;
  readonly appName: string;
  readonly route?: string | undefined;
  readonly entityType?: string | undefined;
  readonly entityId?: string | undefined;
  readonly sessionId?: string | undefined;
  readonly description?: object | undefined;
  readonly clientEventId: string;
}

/** One GraphQL mutation that sends one event or several. */
export interface Operation {
  readonly query: string;
  readonly variables: { readonly input: EventInput | readonly EventInput[] };
}

/** The server's answer, a GraphQL result. */
export interface Answer {
  readonly data?: unknown;
  readonly errors?: readonly { readonly extensions?: { readonly code?: unknown } | undefined }[] | undefined;
  readonly extensions?: unknown;
}

/**
 * Sends an operation.
 *
 * It is called in the same turn as `track`, so that the request is under way before a navigation right after a click.
 * It rejects if there is no GraphQL answer. After an error with a `statusCode` below 500 (except 408, 425 and 429),
 * the tracker does not try again. After ten seconds without an answer, the tracker aborts the signal, and counts the try
 * as failed. From then on, the transport must not send the operation: the user or the date can have changed.
 */
export type Transport = (operation: Operation, signal?: AbortSignal) => Promise<Answer>;

export type Token = string | null | undefined;
/** Returns the login token of the current user. Without a token, nothing can be sent. */
export type GetToken = () => Token | Promise<Token>;

/** Makes an error whose name says what happened, and whose status says whether trying again can help. */
export const sendError = (name: string, statusCode: number): Error => Object.assign(new Error(name), { name, statusCode });

/** Returns what the work results in. After ten seconds it rejects, and aborts the signal that the work has. */
export const inTime = <Result>(work: (signal: AbortSignal) => Result | Promise<Result>): Promise<Result> =>
  new Promise((resolve, reject) => {
    const TIMEOUT_MS = 10_000;
    const aborter = new AbortController();
    const timer = setTimeout(() => {
      reject(sendError("TimeoutError", 504));
      aborter.abort();
    }, TIMEOUT_MS);
    // Work that throws at once rejects as well, and leaves no timer behind.
    new Promise<Result>((done) => done(work(aborter.signal)))
      .then(resolve, reject)
      .finally(() => clearTimeout(timer));
  });

// Browsers refuse keepalive requests once more than 64 KiB of bodies are under way for the whole page.
const KEEPALIVE_BYTES = 60_000;
let keptAlive = 0;

/**
 * Returns a transport that posts to a GraphQL endpoint with `authorization: JWT <token>`. Requests survive a navigation
 * and the closing of the tab.
 */
export function fetchTransport(endpoint: string, token: Token): Transport {
  return async (operation, signal) => {
    if (!token) throw sendError("NoToken", 401);
    const body = JSON.stringify(operation);
    const bytes = new Blob([body]).size;
    const kept = keptAlive + bytes <= KEEPALIVE_BYTES ? bytes : 0;
    keptAlive += kept;
    try {
      const response = await fetch(endpoint, {
        method: "POST",
        headers: { "content-type": "application/json", authorization: `JWT ${token}` },
        body,
        keepalive: kept > 0,
        referrerPolicy: "no-referrer", // The page's address holds ids.
        signal: signal ?? null,
      });
      if (response.status >= 400) throw sendError(`Http${response.status}`, response.status);
      return (await response.json()) as Answer;
    } finally {
      keptAlive -= kept;
    }
  };
}
