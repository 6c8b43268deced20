/**
 * The tracker, which decides whether an event may leave the browser, sends it, and never disturbs the page.
 * The rules are requirement 7.
 */
import type { AppName, EventFields, EventType } from "./events.js";
import { routeTemplate } from "./route.js";
import { claimSession, eventId, sessionId, utcDate } from "./session.js";
import { type Answer, type EventInput, fetchTransport, type GetToken, type Operation, sendError, type Transport } from "./transport.js";

/** The part of the current user that the tracker needs. `email` is compared with the internal list, and never sent. */
export interface SignalUser {
  /** Undefined means that it is not loaded yet; null means that there is none. */
  readonly email?: string | null | undefined;
}

/** The reason why an event was not sent, or the server's own reason, such as `unknown_event_type`. */
export type DropReason = "user_loading" | "no_user" | "internal_user" | "user_changed" | "expired" | "overflow" | (string & {});

interface CommonOptions {
  readonly appName: AppName;
  /** Returns the current user: undefined while loading, null if there is none. Nothing is sent in either case. */
  readonly getUser: () => SignalUser | null | undefined;
  /**
   * The e-mail addresses of internal people, whose events are not sent: a list or a comma-separated text, in upper or
   * lower case. The list is public, because it is in the app's bundle. If it is undefined, as a forgotten build variable
   * is, nothing is sent, and the error `NoInternalEmails` is reported. An empty text means that nobody is internal.
   */
  readonly internalEmails: string | readonly string[] | null | undefined;
  /** Returns the route template, such as Next.js' `router.pathname`. Ids in it are replaced before it is sent. */
  readonly getRoute?: (() => string | null | undefined) | undefined;
  /** Whether to collect events for up to two seconds and send them together. A hidden page sends them at once. */
  readonly batch?: boolean | undefined;
  /** Called for an event that was not stored, with the reason. By default, the server's refusals go to the console. */
  readonly onDrop?: ((eventType: string, reason: DropReason) => void) | undefined;
  /** Called for an event that could not be sent, with the error's name, never its text. By default, it is logged. */
  readonly onError?: ((eventType: string, errorName: string) => void) | undefined;
}

/** The options of a tracker, with an endpoint and a token, or a transport (such as `apolloTransport`). */
export type TrackerOptions = CommonOptions &
  (
    | { readonly endpoint: string; readonly getToken: GetToken; readonly transport?: undefined }
    | { readonly transport: Transport; readonly endpoint?: undefined; readonly getToken?: undefined }
  );

/** The event types that need neither entity nor description. */
type BareEventType = { [Type in EventType]: object extends EventFields[Type] ? Type : never }[EventType];
/** The arguments after the event type: `{ entity, description }`, as the catalogue says. */
export type Fields<Type extends EventType> = [Type] extends [BareEventType]
  ? [fields?: EventFields[Type]]
  : [fields: EventFields[Type]];

/** Records one event. It returns at once and never throws. */
export type Track = <Type extends EventType>(eventType: Type, ...fields: Fields<Type>) => void;

/** A tracker, made by `createTracker`. */
export interface Tracker {
  readonly track: Track;
  /** Sends the events of an unfinished batch now. */
  readonly flush: () => void;
}

/** What the hooks use. */
export interface HookTracker {
  readonly track: Track;
  readonly isLoading: () => boolean;
}

interface Pending {
  readonly input: EventInput;
  readonly date: string;
  /** Whose event it is. It stays in memory. */
  readonly email: string | null | undefined;
  /** The event type in a form that may be reported. */
  readonly type: string;
}

interface LooseFields {
  readonly entity?: { readonly type: string; readonly id: string } | undefined;
  readonly description?: object | undefined;
}

const RETRY_AFTER_MS = [1_000, 4_000, 16_000];
const MAX_PENDING = 200;
const BATCH_EVENTS = 20;
const BATCH_MS = 2_000;
// Codes of the server and of gateways: SERVICE_UNAVAILABLE, INTERNAL_SERVER_ERROR, DOWNSTREAM_SERVICE_ERROR.
const HEALING_CODE = /UNAVAILABLE|INTERNAL|DOWNSTREAM/;

/**
 * Makes a tracker. Before the first event it makes no request and stores nothing; it only marks the session id that an
 * earlier page of this tab has left.
 */
export const createTracker = (options: TrackerOptions): Tracker => trackerOf(() => options);

/** Makes a tracker that asks for its options at each event. */
export function trackerOf(options: () => TrackerOptions): Tracker & HookTracker {
  let pending = 0;
  let queue: Pending[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  claimSession();

  const send: Transport = (operation) => {
    const { transport, endpoint, getToken } = options();
    return (transport ?? fetchTransport(endpoint, getToken))(operation);
  };

  const drop = (type: string, reason: DropReason): void => quietly(() => options().onDrop?.(type, reason));
  const refused = (type: string, reason: DropReason): void => quietly(() => (options().onDrop ?? warn)(type, reason));
  const fail = (type: string, error: unknown): void => quietly(() => (options().onError ?? warn)(type, errorName(error)));

  const track = (eventType: string, fields: LooseFields = {}): void => {
    const type = plain(eventType);
    try {
      const refusal = refusalOf(options()) ?? (pending < MAX_PENDING ? undefined : "overflow");
      if (refusal) return drop(type, refusal);
      const event = { input: inputOf(eventType, fields), date: utcDate(), email: options().getUser()?.email, type };
      pending++;
      if (options().batch) enqueue(event);
      else void deliver([event]);
    } catch (error) {
      fail(type, error);
    }
  };

  const inputOf = (eventType: string, { entity, description }: LooseFields): EventInput => {
    const route = quietly(() => options().getRoute?.());
    return {
      eventType,
      appName: options().appName,
      route: route ? routeTemplate(route) : undefined,
      entityType: entity?.type,
      entityId: entity?.id,
      sessionId: sessionId(),
      // A copy, because the caller can change the description while the request waits.
      description: description && (JSON.parse(JSON.stringify(description)) as object),
      clientEventId: eventId(),
    };
  };

  const enqueue = (event: Pending): void => {
    queue.push(event);
    timer ??= setTimeout(flush, BATCH_MS);
    globalThis.document?.addEventListener("visibilitychange", flushIfDue);
    flushIfDue();
  };

  const flushIfDue = (): void => {
    if (queue.length >= BATCH_EVENTS || globalThis.document?.visibilityState === "hidden") flush();
  };

  const flush = (): void => {
    clearTimeout(timer);
    globalThis.document?.removeEventListener("visibilitychange", flushIfDue);
    timer = undefined;
    const events = queue;
    queue = [];
    if (events.length) void deliver(events);
  };

  /** Sends events until they are answered, refused or given up. It never rejects. */
  const deliver = async (events: readonly Pending[]): Promise<void> => {
    const total = events.length;
    for (let attempt = 0; ; attempt++) {
      events = events.filter(maySend);
      if (!events.length) break;
      const failure = await attemptOf(events);
      const delay = RETRY_AFTER_MS[attempt];
      if (!failure) break;
      if (!mayHeal(failure) && events[1]) {
        // One of them can be the cause, and the others are good.
        pending += events.length;
        events.forEach((event) => void deliver([event]));
        break;
      }
      if (!delay || !mayHeal(failure)) {
        events.forEach((event) => fail(event.type, failure));
        break;
      }
      await pause(delay);
    }
    pending -= total;
  };

  /** Returns whether an event may still be sent, since it can have waited. */
  const maySend = ({ type, date, email }: Pending): boolean => {
    try {
      const refusal =
        refusalOf(options()) ??
        // Another user's token would make it that user's event.
        (options().getUser()?.email !== email
          ? "user_changed"
          : // If an event were stored on another UTC date, its session id would link the hashes of the two days.
            date !== utcDate() && "expired");
      if (refusal) drop(type, refusal);
      return !refusal;
    } catch (error) {
      fail(type, error);
      return false;
    }
  };

  /** Makes one request, and returns what went wrong with it, if anything. */
  const attemptOf = async (events: readonly Pending[]): Promise<object | undefined> => {
    try {
      const answer = await send(operationOf(events.map((event) => event.input)));
      outcomesOf(answer).forEach((each, at) => each?.reason && events[at] && refused(events[at].type, plain(each.reason)));
      return failureOf(answer);
    } catch (error) {
      return Object(error) as object;
    }
  };

  // An error in `getUser` is not loading: `track` then reports it.
  const isLoading = (): boolean => quietly(() => refusalOf(options())) === "user_loading";

  return { track: track as Track, flush, isLoading };
}

function refusalOf({ getUser, internalEmails }: TrackerOptions): DropReason | undefined {
  const user = getUser();
  if (user === null) return "no_user";
  if (user?.email === undefined) return "user_loading"; // Nobody knows yet whether it is on the list.
  if (internalEmails === undefined) throw sendError("NoInternalEmails", 400);
  const listed = String(internalEmails).toLowerCase().split(/[\s,]+/);
  return user.email && listed.includes(user.email.trim().toLowerCase()) ? "internal_user" : undefined;
}

function operationOf(inputs: readonly EventInput[]): Operation {
  const [field, type, input] = inputs[1]
    ? ["eventCreateMany", "[EventCreateInput!]!", inputs]
    : ["eventCreate", "EventCreateInput!", inputs[0]];
  return { query: `mutation Signal($input: ${type}) { ${field}(input: $input) { id } }`, variables: { input } } as Operation;
}

/** Returns what is wrong with an answer, if anything. */
function failureOf(answer: Answer | null): Error | undefined {
  if (answer?.errors?.length) {
    const code = String(answer.errors[0]?.extensions?.code ?? "GraphQLError");
    return sendError(code, HEALING_CODE.test(code) ? 503 : 400);
  }
  return answer?.data ? undefined : sendError("NoData", 400);
}

/** Returns what the server did with each event, in order, with the reason for a drop. A gateway can leave this out. */
function outcomesOf(answer: Answer | null): ({ reason?: unknown } | null | undefined)[] {
  return ([] as object[]).concat((answer?.extensions as { signal?: { events?: object } } | undefined)?.signal?.events ?? []);
}

function mayHeal(failure: object): boolean {
  const { name, statusCode } = failure as { name?: string; statusCode?: number };
  return statusCode === undefined ? name !== "SyntaxError" : statusCode >= 500 || statusCode === 429;
}

/** Waits, and then waits on until the browser is online. */
async function pause(milliseconds: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, milliseconds * (0.75 + Math.random() / 2)));
  if (globalThis.navigator?.onLine === false) {
    await new Promise((resolve) => globalThis.addEventListener("online", resolve, { once: true }));
  }
}

/** Returns a name that is safe to log. Anything else becomes `(other)`. */
const plain = (name: unknown): string => (typeof name === "string" && /^[a-z0-9_]{1,64}$/.test(name) ? name : "(other)");

function errorName(error: unknown): string {
  const name = (error as { name?: unknown } | null)?.name;
  return typeof name === "string" && /^\w{1,40}$/.test(name) ? name : "Error";
}

/** Logs in the console what became of an event. */
export const warn = (eventType: string, what: string): void => console.warn(`signal: ${eventType}: ${what}`);

function quietly<Result>(call: () => Result): Result | undefined {
  try {
    return call();
  } catch {
    return undefined; // The app's own callback failed, which must not disturb the tracker.
  }
}
