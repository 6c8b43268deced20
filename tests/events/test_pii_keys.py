"""Keys of a description that name personal data, in every spelling."""

from __future__ import annotations

import pytest

from signal_pipeline.events.pii import holds_pii

REQUIRED_KEYS = (
    "email",
    "name",
    "firstname",
    "lastname",
    "phone",
    "userid",
    "token",
    "password",
)
EXPECTED_KEYS = (
    *("mail", "emailaddress", "fullname", "username", "surname", "givenname", "familyname"),
    *("displayname", "mobile", "telephone", "phonenumber", "address", "streetaddress", "ip"),
    *("ipaddress", "useragent", "ssn", "passport", "dob", "dateofbirth", "birthdate", "birthday"),
    *("iban", "creditcard", "cardnumber", "secret", "apikey", "accesstoken", "refreshtoken"),
    *("idtoken", "authorization", "cookie", "sessionid", "jwt", "passwd", "pwd", "useremail"),
    *("pass", "pw", "pin", "fname", "lname", "forename", "usr", "whatsapp", "handle"),
    *("author", "owner", "creator", "createdby", "assignee", "contact", "contactno", "telno"),
    *("cell", "customer", "member", "person", "guest", "authorid", "assignedto"),
    *("useridentifier", "useridhash", "useridlegacy"),
    *("reviewer", "approver", "recipient", "sender", "users", "people", "accountname", "deviceids"),
    *("membernumber", "userno", "customerref", "userkey", "actorid", "actor", "studentids"),
    *("nickname", "postcode", "uid", "login", "credentials", "authorisation", "deviceid"),
)
HARMLESS_KEYS = (
    *("language", "templateName", "languageName", "fileName", "journeyId", "templateId", "id"),
    *("count", "maxTokens", "microphone", "isIphone", "ship", "tooltip", "zipped", "addressBar"),
    *("theme", "source", "target", "page", "nameLength", "eventName", "secretary", "usage"),
    *("userIdle", "userIdleTime", "userIdentifiedStep", "spin", "passed", "handleClick"),
    *(
        "memberCount",
        "ownerType",
        "authorsShown",
        "contactForm",
        "guestMode",
        "cellIndex",
        "megaphone",
    ),
    *(
        "isMobile",
        "personalised",
        "personalized",
        "persona",
        "created",
        "membership",
        "isOwner",
        "ownership",
    ),
    *(
        "parentId",
        "templateIds",
        "groupId",
        "orderedBy",
        "assigned",
        "editor",
        "clients",
        "profile",
        "admin",
    ),
    *(
        "googleTagManagerId",
        "oauthClientId",
        "contactUs",
        "memberIdle",
        "userSettings",
        "ownerNamed",
    ),
    *("", "7", "_", "язык"),
)


@pytest.mark.parametrize("key", REQUIRED_KEYS + EXPECTED_KEYS)
def test_listed_keys_are_refused_whatever_their_value(key: str) -> None:
    values: list[object] = [None, 0, True, "x", [], {}]
    for value in values:
        assert holds_pii({key: value})


@pytest.mark.parametrize(
    "person",
    [
        *(
            "user",
            "author",
            "owner",
            "member",
            "person",
            "reviewer",
            "approver",
            "recipient",
            "sender",
        ),
        *("createdBy", "modifiedBy", "editedBy", "deletedBy", "invitedBy", "assignedTo"),
    ],
)
def test_a_person_is_refused_alone_in_the_plural_and_with_an_id(person: str) -> None:
    ids = [
        f"{person}{plural}{form}"
        for plural in ("", "s")
        for form in ("Id", "Ids", "Uid", "Uuid", "UUIDs")
    ]
    keys = {
        person,
        f"{person}s",
        f"{person}Name",
        f"{person}_names",
        *ids,
        f"journey_{person}Id",
        f"{person}Id2",
    }
    assert {key for key in keys if not holds_pii({key: 1})} == set()
    harmless = {
        f"{person}Count",
        f"{person}sCount",
        f"{person}Type",
        f"is{person}",
        f"{person}Idle",
    }
    assert {key for key in harmless if holds_pii({key: 1})} == set()


@pytest.mark.parametrize(
    "key", ["accountIds", "profileIds", "client_ids", "visitorUuid", "editorId", "managerIds"]
)
def test_an_account_is_refused_with_an_id(key: str) -> None:
    assert holds_pii({key: 1})


@pytest.mark.parametrize("key", REQUIRED_KEYS)
def test_keys_are_refused_in_every_spelling(key: str) -> None:
    middle = len(key) // 2
    spellings = {
        key.upper(),
        key.capitalize(),
        f"{key[:middle]}_{key[middle:]}",
        f"{key[:middle]}-{key[middle:]}",
        f"{key[:middle]} {key[middle:]}",
        f"{key[:middle]}\u00a0{key[middle:]}",
        f"{key[:middle]}\u200b{key[middle:]}",
        f"{key[:middle]}\u2010{key[middle:]}",
        f"{key[:middle]}.{key[middle:]}",
        f"__{key}__ ",
        f"{key}1",
        "".join(chr(ord(character) + 0xFEE0) for character in key),
        f"%{ord(key[0]):02x}{key[1:]}",
    }
    assert {spelling for spelling in spellings if not holds_pii({spelling: 1})} == set()


@pytest.mark.parametrize(
    "key",
    [
        *("contactEmail", "e-mail", "EMAIL_ADDRESS", "old_password", "passwordHash", "homePhone"),
        *("created_by_user_id", "client-secret", "csrfToken", "billing_address", "phone2", "IPv4"),
        *("X-Forwarded-For", "User-Agent", "\uff4e\uff41\uff4d\uff45", "ﬁrstname"),
    ],
)
def test_compound_keys_are_refused(key: str) -> None:
    assert holds_pii({key: 1})


@pytest.mark.parametrize("key", HARMLESS_KEYS)
def test_harmless_keys_pass(key: str) -> None:
    assert not holds_pii({key: "x"})
