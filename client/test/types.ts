/** What must compile and what must not; checked by `npm run types`, never run. */
import type { AppName, EventFields, EventType, Track, TrackerOptions } from "../src/index.js";
import { useTrackWhen } from "../src/react.js";

declare const track: Track;
const journey = { type: "journey", id: "550e8400-e29b-41d4-a716-446655440000" } as const;
const template = { type: "template", id: journey.id } as const;

// Good calls.
track("journey_create_clicked");
track("journey_create_clicked", {});
track("journey_create_from_template", { entity: template });
track("editor_helpscout_overlay_opened");
track("editor_helpscout_overlay_opened", { entity: journey });
track("ai_translation_language_picked", { entity: journey, description: { language: "French" } });
useTrackWhen(true, "editor_strategy_overlay_opened", { entity: journey });
useTrackWhen(true, "journey_create_clicked");

// The event type.
// @ts-expect-error not in the catalogue
track("no_such_event");
// @ts-expect-error any text at all
track("journey_create_clicked" as string);

// The entity.
// @ts-expect-error it is missing
track("journey_create_from_template");
// @ts-expect-error it is missing
track("journey_create_from_template", {});
// @ts-expect-error of another type
track("journey_create_from_template", { entity: journey });
// @ts-expect-error without its id
track("journey_create_from_template", { entity: { type: "template" } });
// @ts-expect-error where none belongs
track("journey_create_clicked", { entity: journey });
// @ts-expect-error of another type, where it may be missing
track("editor_helpscout_overlay_opened", { entity: template });

// The description.
// @ts-expect-error it is missing
track("ai_translation_language_picked");
// @ts-expect-error it is missing
track("ai_translation_language_picked", { entity: journey });
// @ts-expect-error empty
track("ai_translation_language_picked", { entity: journey, description: {} });
// @ts-expect-error of the wrong type
track("ai_translation_language_picked", { entity: journey, description: { language: 7 } });
// @ts-expect-error with more than the catalogue names
track("ai_translation_language_picked", { entity: journey, description: { language: "French", email: "a@b.org" } });
// @ts-expect-error where none belongs
track("journey_create_clicked", { description: { note: "x" } });

// An event type that is not known before the call needs what any of them may need.
declare const some: EventType;
// @ts-expect-error some of them need fields
track(some);
declare const bare: "journey_create_clicked" | "editor_helpscout_overlay_opened";
track(bare);
// @ts-expect-error the hook checks the same
useTrackWhen(true, "editor_strategy_overlay_opened");

// The options.
declare const rest: Omit<TrackerOptions, "endpoint" | "getToken" | "transport" | "internalEmails">;
const internalEmails: string | undefined = process.env["NEXT_PUBLIC_INTERNAL_USER_EMAILS"];
const good: TrackerOptions = { ...rest, internalEmails, endpoint: "/graphql", getToken: async () => null };
const own: TrackerOptions = { ...rest, internalEmails, transport: async () => ({ data: {} }) };
// @ts-expect-error without the internal list: whoever has none says so
const unlisted: TrackerOptions = { ...rest, endpoint: "/graphql", getToken: () => null };
// @ts-expect-error null is no list: it is what becomes of a forgotten variable
const nullList: TrackerOptions = { ...rest, internalEmails: null, endpoint: "/graphql", getToken: () => null };
// @ts-expect-error without a token
const tokenless: TrackerOptions = { ...rest, internalEmails, endpoint: "/graphql" };
// @ts-expect-error an app that is not in the catalogue
const app: AppName = "some-app";
// @ts-expect-error a description is read-only
const changed = (fields: EventFields["ai_translation_language_picked"]): void => void (fields.description.language = "x");
export const used = [good, own, unlisted, nullList, tokenless, app, changed];
