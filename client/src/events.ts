// Made by `make client-types` from the catalogue (version 1).
// Do not edit: change the catalogue, and make it anew.

/** The apps that send events. */
export type AppName = "journeys-admin" | "videos-admin" | "cms";

/** The kinds of thing an event can be about. */
export type EntityType = "journey" | "video" | "template";

/**
 * What an event is about. An id that is not in its type's format, or is the nil or max UUID, makes
 * the server drop the event.
 */
export interface Entity<Type extends EntityType> {
  readonly type: Type;
  readonly id: string;
}

/** Each event type, and what goes with it. */
export interface EventFields {
  /** The primary Create Journey button is clicked. How often, and from where, people start a journey from scratch. Owner: team:journeys. */
  journey_create_clicked: { entity?: never; description?: never };
  /** A journey is finally created from a template. Which templates lead to journeys, and how they compare with starting from scratch. Owner: team:journeys. */
  journey_create_from_template: { entity: Entity<"template">; description?: never };
  /** The overlay opens. Whether the analytics overlay of the editor is used. Owner: team:journeys. */
  editor_analytics_overlay_opened: { entity: Entity<"journey">; description?: never };
  /** The overlay opens. Whether the strategy overlay of the editor is used. Owner: team:journeys. */
  editor_strategy_overlay_opened: { entity: Entity<"journey">; description?: never };
  /** The overlay opens. How often people look for help from inside the editor. Owner: team:journeys. */
  editor_helpscout_overlay_opened: { entity?: Entity<"journey">; description?: never };
  /** The overlay opens. Whether people check how a journey looks when it is shared. Owner: team:journeys. */
  editor_social_preview_overlay_opened: { entity: Entity<"journey">; description?: never };
  /** A target language is picked. Which target languages AI translation is used for. Owner: team:journeys. */
  ai_translation_language_picked: { entity: Entity<"journey">; description: { /** At most 64 characters. */ readonly language: string } };
}

/** The event types that are not retired. */
export type EventType = keyof EventFields;
