"""The GraphQL schema: its types, its resolvers, and what they may answer."""
