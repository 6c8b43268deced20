"""Keys that a reviewer expects to be refused, in every spelling.

Their neighbours must pass.
"""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signal_pipeline.events.pii import holds_pii

PRIVATE = {
    "who": (
        """
        currentUser loggedInUser requestedByUser assignedUser invitedUsers selectedUsers adminUser fromUser
        user2 user1Name teamOwner teamMembers journeyOwner templateAuthor coAuthors lockedByMember teamLead
        projectManager accountManager ownerProfile userProfile userInfo userData userDetails userList memberList
        customerDetails authorBio accountOwner performedBy lastEditedBy approvedBy reportedBy closedBy takenBy
        sentBy writtenBy createdByName updatedByUserId sharedWith sharedTo sentTo emailedTo onBehalfOf loginName
        memberName guestName doctorName patientId employeeId studentNumber staffId organizerName spouseName
        friendIds recipientList guardian nextOfKin whoami bio loggedInAs signedInUser impersonatedUser managedBy
        sendTo sharedWithUsers loginNames byWhom
    """
    ),
    "contact": (
        """
        contactPerson contactInfo primaryContact emergencyContact contactList mailTo replyTo bcc workMobile
        homePhone mobileNumber phoneNr faxNumber privateMail businessMail userMail homeAddress billing_postcode
        shippingZipCode addressLine1 streetName houseNumber twitterHandle githubHandle linkedinUrl telegramId
        discordTag whatsappNumber avatarUrl userAvatar gravatar gravatarHash profilePicture userPhoto photoURL
    """
    ),
    "ids elsewhere": (
        """
        firebaseUid googleUid facebookId googleId auth0Id oktaId cognitoId mixpanelId amplitudeId intercomId
        anonymousId segmentAnonymousId distinctId posthogDistinctId stripeCustomer stripeCustomerId
        hubspotContactId customerRef gaClientId deviceToken pushToken fcmToken visitorId installationId
        advertisingId deviceFingerprint trackingId editorSessionId lastLoginIp client_ip sourceIp remoteAddr
        userAgentString androidId gclid deviceUUID anonymousIds cognitoSub
    """
    ),
    "official": (
        """
        insuranceNumber nationalInsuranceNumber socialInsuranceNo policyNumber healthInsuranceId idCardNumber
        taxNumber vatNumber passportNo drivingLicenceNumber licensePlate cardLast4 last4 cardHolder paymentCard
        bankDetails salary nationalInsurance nhsNumber medicareId insurancePolicy insuranceNumbers
    """
    ),
    "secrets": (
        """
        authHeader x_auth_token X-Auth-Key authorizationHeader authCode basicAuth oauthState csrf csrfToken xsrf
        sid connect.sid sessionSid phpsessid sessionCookies verificationCode confirmationCode activationCode
        recoveryCodes backupCodes loginCode accessCode inviteCode smsCode 2faCode totp cardPin userPin magicLink
        resetLink inviteUrl invitationLink verificationLink loginLink signedUrl presignedUrl unsubscribeUrl
        passwordResetUrl clientSecret apiTokens sshKey signingKey encryptionKey seedPhrase securityAnswer
        userPwd magicLinkUrl inviteCodeValue csrf_tokens tokenHash secretValue
    """
    ),
    "place": (
        """
        coords coordinates coord homeCoordinates userCoords geo geoPoint geoLocation geohash geoIp gps
        gpsPosition latLng mapLat centerLng userLocation homeLocation whereabouts hometown lat_long homeGeo
    """
    ),
    "article 9": (
        """
        birthYear birthDate birth_place birthName yearOfBirth yearBorn userAge ageYears race userRace
        raceEthnicity ethnicOrigin faith faithBackground religion religiousBeliefs denomination denominations
        health healthCondition mentalHealth diagnosis diagnoses medicalHistory medication bloodType allergies
        symptoms disabilities disabilityType pregnancy isPregnant hasDisability userGender genderIdentity
        pronouns sexualOrientation politicalViews tradeUnion biometricData criminalRecord immigrationStatus
    """
    ),
}
PRIVATE |= {
    "digests": (
        """
        ipHash uaHash phoneHash addressHash deviceIdHash nameHash pwdHash passHash fingerprintHash ipMd5 phoneSha1
        nameSha256 addressDigest phoneHashed ipEncrypted uaSha256Hash hashedName encryptedIp
    """
    ),
    "other kinds": (
        """
        cc ccList userFrom userTo motherName fatherName parentName childName speakerName leaderName middleInitial
        leaderId speakerId facebookUrl igHandle xHandle youtubeHandle bskyHandle instagram twitter facebook linkedin
        github telegram msAccountId klaviyoId segmentId _ga _gid ecid muid oid upn samAccountName userPrincipalName
        drivingLicence drivingLicense nationalIdNumber niNumber badgeNumber plateNumber ibanNumber cardNo ccNum
        lastKnownLocation latitudeDeg homeLatitude plusCode w3w apartment ssoUrl acceptUrl keyPem deviceUuid
        deviceSerial installId computerName partyMembership votedFor skinColor therapy therapyType treatment
        covidStatus hivStatus faceId voiceprint retina church churchName createdByEmail contractorName contractorId
        benefactorId midwifeName detractorEmail
    """
    ),
}
HARMLESS = {
    "counts and things that were sent": (
        """
        numberOfUsers emailsSent emailsOpened passwordResetClicked forgotPasswordClicked emailClicked emailSubmitted
        sharedByEmail shareViaEmail notifyByEmail designToken colorToken cssToken emailTemplate emailTemplateId
        emailEditor emailBlock birthdayTemplate
    """
    ),
    "media and teaching": (
        """
        channelName speakerCount shareTarget socialPlatform facebookClicked githubLinkVisible lessonName seasonName
        contentHash fileNameHash commitSha templateNumber surfaceId interfaceId isRetina platitude leaderboard
        urlHash youtubeId archiveStatus
    """
    ),
    "counts": (
        """
        eventsPerUser events_per_user teamCount userCount userCounts ownerCount emailCount tokenCount
        sharedWithCount maxMembers totalUsers activeUsers uniqueVisitors numAuthors emailsPerTeam avatarCount
        coordinatesCount nameLength passwordLength resetCount inviteCount pinCount usersOnline membersOnly
        maxTokens promptTokens acceptCookies
    """
    ),
    "flags": (
        """
        isOwner isAdmin hasPassword hasEmail showAvatar hideEmail emailVerified email_verified phoneConfirmed
        passwordChanged tokenExpired csrfEnabled gpsEnabled mfaEnabled isLoggedIn requiresAuth useGeo
    """
    ),
    "kinds, roles, settings": (
        """
        ownerType userType userRole userLanguage userSettings userPreferences userGroups userJourney contactForm
        contactUs emailType accountType profileType authMethod authProvider loginMethod loginPage phoneType
        tokenType passwordStrength groupByUser sortByOwner memberSince healthStatus
    """
    ),
    "names of things": (
        """
        templateName languageName journeyName videoTitle fileName hostName domainName teamName companyName
        eventName className parentId childId templateIds blockId cardId youtubeId videoId googleTagManagerId
        oauthClientId
    """
    ),
    "done by things": (
        """
        sortedBy orderedBy groupedBy filteredBy poweredBy triggeredBy generatedBy aria-labelledby
        ariaDescribedBy controlledBy followedBy
    """
    ),
    "words that hold such a word": (
        """
        authority authored authoring raceCondition raceTrack trace brace grace embraceMode terrace healthCheck
        healthz serverHealth sidebar sidebarOpen inside residence geometry geoJson geographic originalHref
        faithfulness coordinateSystem mouseCoords clickCoordinates passThrough passRate bypass compass keyboard
        monkey hotkey keyName remember rememberMe factor refactor designer placeholder stakeholder
        podcastEpisode broadcast transparent presetUrl presetCode assignedUrl latency lateral flat longest
        tooltip ship clip microphone headphones smartphone saxophone secretary usage language package persona
        personalized membership ownership diagnostics diagnosticMode spinner pinned mapPin dragHandle zipFile
        gzip promoCode countryCode qrCode embedCode barcode subtitle
    """
    ),
}


def keys(lists: dict[str, str]) -> list[str]:
    return [key for text in lists.values() for key in text.split()]


def words(key: str) -> list[str]:
    return re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+", key)


@pytest.mark.parametrize("key", keys(PRIVATE))
def test_a_key_of_a_person_a_secret_or_a_place_is_refused(key: str) -> None:
    for value in (None, 0, True, "x", [], {}):
        assert holds_pii({"deep": [{key: value}]})


@pytest.mark.parametrize("key", keys(HARMLESS))
def test_a_key_that_counts_or_only_sounds_so_passes(key: str) -> None:
    assert not holds_pii({key: 3})


@pytest.mark.parametrize("key", keys(PRIVATE))
def test_it_is_refused_in_every_spelling(key: str) -> None:
    parts = words(key)
    joined = "".join(parts)
    spellings = {
        "_".join(parts).lower(),
        "-".join(parts),
        " ".join(parts).upper(),
        ".".join(parts),
        joined.lower(),
        joined.upper(),
        joined.swapcase(),
        "_".join(joined),
        f"__{joined}__",
        "".join(chr(ord(letter) + 0xFEE0) for letter in joined),
        "\u200b".join(joined),
    }
    assert {spelling for spelling in spellings if not holds_pii({spelling: 1})} == set()


@pytest.mark.parametrize("key", keys(HARMLESS))
def test_it_passes_with_dashes_and_underscores(key: str) -> None:
    parts = words(key)
    for spelling in ("_".join(parts).lower(), "-".join(parts).lower(), "_".join(parts).upper()):
        assert not holds_pii({spelling: 3}), spelling


@pytest.mark.parametrize("before", ["current", "journey", "primary", "old", "x", "page"])
@pytest.mark.parametrize(
    "person",
    ["User", "Owner", "Author", "Contact", "Member", "Customer", "CreatedBy", "SharedWith"],
)
def test_a_person_is_refused_whatever_stands_before(before: str, person: str) -> None:
    for end in ("", "s", "Id", "Ids", "Name", "Info", "Profile", "Url"):
        assert holds_pii({f"{before}{person}{end}": 1}), end
    for end in ("Count", "Type", "Role", "Settings", "sPerDay"):
        assert not holds_pii({f"{before}{person}{end}": 1}), end


@pytest.mark.parametrize(
    "verb",
    ["renamed", "translated", "impersonated", "recommended", "escalated", "archived", "mentioned"],
)
def test_whoever_did_something_is_refused(verb: str) -> None:
    for key in (f"{verb}By", f"last_{verb}_by", f"{verb}ById"):
        assert holds_pii({key: 1})


@pytest.mark.parametrize("key", ["use_rid", "use-r-name", "USErId", "hashedPassword"])
def test_a_flag_is_no_disguise(key: str) -> None:
    """A word can make a key a flag, which would be harmless.

    Here that word is not one of its own, or takes nothing from what the rest says.
    """
    assert holds_pii({key: 1})


@given(st.sampled_from(keys(PRIVATE)), st.sampled_from(keys(HARMLESS)))
def test_a_verdict_does_not_depend_on_what_was_asked_before(private: str, harmless: str) -> None:
    for first, second in itertools.permutations((private, harmless)):
        verdicts = {first: holds_pii({first: 1}), second: holds_pii({second: 1})}
        assert verdicts == {private: True, harmless: False}
        assert holds_pii({first: 1, second: 1})
