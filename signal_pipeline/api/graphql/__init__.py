"""The GraphQL schema: its types, its resolvers, and the rules for what they may answer."""
