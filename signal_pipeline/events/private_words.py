"""The lists of words by which `private_keys.py` recognises a key that names personal data.

All words are in lower case, letters and digits only, and English. A key in another language is not
recognised. `{client,remote}ip{,s}` means every combination, as in a shell.
"""

from __future__ import annotations

# Private as a whole key or with a person before it (`age`, `userAge`), also in the plural.
WHOLE = (
    # Names of a person
    "name login loginid realname legalname screenname displayname initials fname lname forename",
    "usr handle userhandle signinname preferredname personalname profilename nameid nick",
    "{parent,child,son}name nameof{mother,father}",
    "patronymic whoami who whom bywhom {loggedin,signedin,acting}as bio biography honorific",
    "salutation",
    # Ways to reach or find a person
    "mail mailaddress gmail mobile tel fax msisdn cell whatsapp whatsappid {,b}cc{,list} callerid photourl",
    "addr addressline street streetno apartmentno pobox zip lat lng lon latitude longitude",
    "geolocation geo hometown {current,my,last}location locationdata what{3,three}words w3w apartment",
    "apt{no,nr,num,number} olc",
    "{home,work,office,business,billing,shipping,mailing,delivery}{mail,mobile,tel,fax,cell,street,zip,addr}",
    "{personal,private,primary,secondary}{mail,mobile,tel,fax,cell,street,zip,addr}",
    # Identifiers of a person or a device
    "uid ip ipv ipaddr ua imei imsi iccid meid idfa idfv gaid udid adid androidid macaddr mac",
    "fingerprint serialnumber serialno ssid bssid gclid fbclid msclkid ttclid twclid igshid fbp",
    "ga gid ecid muid oid upn yclid dclid wbraid gbraid lifatid mceid segmentid xhandle",
    "fbc orcid {subject,principal,identity}id hostip xff hubspotutk gacid",
    "{account,profile,client,visitor,editor,manager,admin}{,s}{id,uid,uuid,guid,identifier,no,number,ref,key,name}",
    "{profile,account}{pic,picture,photo,image,url,link,data,info,detail}",
    # Official and financial numbers
    "ssn nin nino nationalid personalid id{no,nr,number,card} cpf curp bsn pesel aadha{,a}r nric",
    "taxid vatid itin mrn vin bic swiftcode sortcode cvv cvc ccnumber cardpan pannumber",
    "ni{no,nr,num,number} card{no,nr,num} cc{no,nr,num,exp,cvc,cvv,name}",
    "cardexp{,iry} nameoncard bankdetails income wage",
    # Secrets
    "tokens cookies pass pw pwd psw pin pincode pinno pinnumber {,t}otp otpcode mfacode bearer",
    "sid nonce dsn jti loginhint codechallenge codeverifier oauth{state,verifier} sessionkey",
    "saml{response,nameid}",
    "{,x}{,basic,http,proxy,api,digest,user}auth{,id,header,key,code,data,info,string,value,param,hash}",
    "{,x}{,http,user}auth{sig,signature,user,session,ticket,payload,cookie} connectsid phpsessid",
    "jsessionid",
    # About a person
    "dob birth born{,on,in,at} age{,years,inyears} sex race racial ethnic creed belief caste",
    "health illness hiv dna genome maritalstatus relationshipstatus conviction politics employer",
    "occupation jobtitle voted{for,party} treatment retina church face{id,print,embedding,template}",
    "{church,parish,mosque,synagogue,congregation}{name,id} parish mosque synagogue congregation",
)

# Private whatever is around them.
ANYWHERE = """
    email phonenumber mobilenumber mobilephone telephone cellphone firstname lastname middlename
    maidenname givenname familyname fullname surname nickname username userid useragent uastring
    ipaddress streetaddress whereabouts birth {date,place,year,month,day,country,city}ofbirth
    gravatar headshot selfie vcard curriculumvitae passport socialsecurity
    {national,social}insurance driv{er,ers,ing}licen licen{c,s}eplate numberplate creditcard debitcard
    paymentcard cardnumber cardholder bankaccount salary salaries password passwd passphrase
    passcode passkey apikey privatekey secretkey accesskey authori{s,z}ation accesstoken
    refreshtoken sessiontoken csrf xsrf securitycode connectionstring seedphrase mnemonic
    recoveryphrase {security,secret}{question,answer}
"""
# Private whatever is around them, and even as a flag (`isPregnant`) or kind (`disabilityType`):
# GDPR, articles 9 and 10.
SENSITIVE = """
    gender ethnic{it,origin,group,background} nationalit religio faith denomination diagnos{e,i}s
    biometric disabilit pregnan sexual lgbt pronoun medical medication vaccin allerg disease symptom
    prescription blood{type,group} mentalhealth
    health{condition,data,record,info,issue,problem,history,insurance,card}
    genetic{data,profile,info,test} therap{y,ies} {covid,hiv}{status,test,result,positive}
    {voice,palm}print {iris,retina}scan skin{color,colour,tone} party{member,affiliation} political
    tradeunion unionmember criminal immigration refugee
"""
# Words that hold a word of the two lists above but mean something else, as a regular expression.
HARMLESS_ANYWHERE = (
    "userid(?:le(?=$|[dmst])|entified)|rebirth|birthed|engender|faithful|faithless"
    "|(?:email|birthday)(?:template|editor|block|builder|layout|campaign)"
)

# Private whatever comes before them, also in the plural and as their value or hash.
AT_THE_END = """
    token {api,auth,device,push,id,fcm,apns,bearer}tokens secret cookie
    {session,auth,tracking}cookies jwt credential authheader forwardedfor {session,connect}sid
    sessionid
    {anonymous,anon,distinct,installation,advertising,tracking,machine,hardware,browser,cookie,visitor}id
    {device,browser,visitor,anonymous}{id,uid,uuid,guid,identifier} gaclientid
    {browser,device,canvas,visitor,user,client}fingerprint{,id}
    {client,remote,user,source,origin,real,visitor,peer,caller,public,login,home}ip
    {client,remote,peer}addr phone address{,es} iban account{no,number} routingnumber
    iban{no,nr,num,number} {,card}last{4,four} streetname zipcode postcode postalcode loginname
    {phone,mobile,tel,fax,cell,contact,house,whatsapp}{no,nr,num,number}
    avatar{,s}{,url,link,src,image,img,path,id,key,uri,file,data} latlng latlon lnglat lonlat
    latlong longlat coord coordinate {home,user,device,ip}geo
    {map,center,centre,start,end,home,user,device,place,location,venue,point,marker}{lat,lng,lon}
    geo{point,location,position,ip,lat,lng,lon,tag,data} geohash
    {badge,plate,nationalid}{no,nr,num,number}
    {latitude,longitude}{,deg,degrees,rad,e6,e7} {lat,lng,lon}{deg,degrees,e6,e7} pluscode
    {user,home,device,exact,precise,live,work,gps,known}location {year,date,place,month,country}born
    {first,middle,last}initial {install,reinstall}{id,uuid} key{pem,jwk} {samaccount,principal}name
    {device,hardware,machine,computer,sim}serial{,no,number} {computer,machine,workstation}name
    {ig,insta,yt,youtube,bsky,threads,pinterest}handle
    {ssh,pgp,gpg,encryption,decryption,signing,hmac,master,client,licence,license,recovery,shared}key
    {user,old,new,db,login,root}{pwd,pw,pass,psw} {card,user,sms,login,security,sim,voice}pin
    {insurance,policy,identity,identification,national,personal,personnel,social}{no,nr,num,number}
    {tax,vat,pension,citizen,residence,permit,visa,medicare,medicaid,nhs,payroll}{no,nr,num,number}
    {licence,license,driver,drivers,matriculation,enrolment,enrollment}{no,nr,num,number}
    {insurance,identity,medicare,nhs,taxpayer}{id,card,document} insurancepolicy
"""
# A code or a link lets somebody in if one of these words is before it: `resetCode`, `inviteLink`.
CODES_OF = """
    verification verify confirmation confirm activation activate recovery backup reset login signin
    access invite invitation referral join onetime 2fa twofactor mfa totp otp sms unlock secret
    pairing passwordless magic auth authentication
"""
LINKS_OF = """
    magic reset invite invitation login signin verification verify confirmation confirm activation
    activate unsubscribe recovery onetime unlock join access autologin private secret signed
    sso accept decline optin optout impersonate impersonation
"""
# Services where people have an account.
NETWORKS = """
    twitter facebook fb instagram insta linkedin github gitlab telegram whatsapp wechat viber
    discord snapchat tiktok reddit twitch mastodon bluesky skype messenger icq msn jabber vk weibo
    kakao xing slack social google apple microsoft azure azuread aad auth0 okta cognito keycloak
    firebase supabase clerk ldap saml sso oidc idp mixpanel amplitude posthog intercom pendo
    fullstory hotjar braze onesignal rudderstack stripe paypal klaviyo mailchimp salesforce zendesk
    sendgrid mparticle msaccount microsoftaccount
"""
# Services whose bare name, or a link to it, means a person's own page.
PAGES_AT = """
    twitter facebook instagram insta linkedin github gitlab telegram snapchat tiktok mastodon bluesky
    bsky skype wechat
"""
# Things on a screen, which have coordinates too.
PIXELS = """
    mouse click cursor pointer canvas screen page viewport drag drop touch grid texture pixel node
    tooltip tile crop element window client svg mesh vertex uv local relative absolute
"""
# The ends of harmless words. `tokens` are what a language model counts (`maxTokens`), and `cookies`
# are what a visitor accepts (`acceptCookies`).
HARMLESS_AT_THE_END = """
    {micro,head,ear,smart,i,mega,saxo,xylo,gramo}phone{,s} canonid preset{code,link,url,uri}{,s}
    {as,de}signed{link,url,uri}{,s} tokens cookies platitude{,s} template{no,nr,num,number}{,s}
    {design,color,colour,css,theme,style,font,spacing,syntax}token{,s,value,values,hash}
"""

# Private as a word of its own at the end: `mapLat`, `sessionSid`, `userRace`, but not `trace`.
LAST_WORDS = """
    sid ssid ip ips dob ssn race pwd imei lat lng lon initials ua fname lname tel fax mobile msisdn
    gps
"""

# Words for a person: by their role, or by what they did or what was done to them.
ROLES = """
    user person people author owner creator assignee assigner contact customer member guest reviewer
    approver recipient receiver sender inviter invitee requester requestor uploader commenter
    commentator collaborator contributor participant attendee subscriber follower employee colleague
    coworker teammate student pupil teacher instructor mentor mentee learner trainee patient doctor
    physician therapist applicant volunteer donor buyer purchaser payer payee beneficiary resident
    citizen voter supervisor respondent submitter proposer moderator organi{s,z}er signee signer
    signatory guardian nextofkin representative maintainer spouse husband wife friend missionary
    speaker leader presenter lecturer tutor preacher mother father daughter brother sister sibling
    pastor staff impersonator {,contr,detr,benef}actor {account,policy}holder {sales,account}rep
    {support,sales,call,service}agent {team,project,group,squad}{lead,leader}
    {team,line,project,account,sales,hiring,product,office,store,branch}manager
"""
DEEDS = """
    {made,done,sent,written,seen,read,paid,sold,bought,taken,given,won,taught,held,run,told}by
    {assigned,shared,emailed,mailed,addressed,delegated,transferred,issued,granted,forwarded,sent,send}to
    {escalated,reports,reported,replied,lent,mail,reply}to sharedwith onbehalfof
"""
HARMLESS_ROLES = """
    {re,dis}member {incre,imple}mentor designer befriend presentto loudspeaker
    {f,ref,extr,compr,comp,red,tr,re,ret}actor
"""
# Anyone who did something is private (`createdBy`, `lastEditedBy`). These verbs are exceptions,
# because a thing does them (`orderedBy`).
DONE_BY_THINGS = """
    order sort group filter index partition key limit trigger caus power block separat delimit divid
    multipli scal back support cover replac supersed follow preced prefix suffix bound match rank
    scor weight generat render produc comput calculat aggregat increas decreas increment decrement
    implement offset shift rotat zoom label labell describ control controll styl bas hash encrypt
    compress wrapp
"""
# Private after a word for a person (`ownerId`), unlike the person's kind (`ownerType`) and what the
# person may do (`userRole`).
OWNED = """
    id uid uuid guid identifier identity no number ref reference key code hash sub oid slug handle
    login name firstname lastname fullname displayname realname first last initial info information
    data detail profile record object obj list dto bio photo picture pic image url uri link href
    account credential claim location value string array card contact mail from to
"""
# Before a word that is private as a whole key, these words mean a person too.
POSSESSIVES = "my your his her their account profile client visitor manager admin"

# The first words of a flag or a count, and (STATES) the last words.
FLAGS = """
    is are was were has have had can could should must will did does show shows hide hides allow
    allows enable enables disable disables require requires need needs use uses total num max min
    sum avg average count
"""
STATES = """
    count counts total totals length size limit quota rate ratio share percent percentage index rank
    type types kind kinds status state enabled disabled visible hidden shown verified unverified
    confirmed required optional valid invalid present missing empty exists changed checked toggled
    allowed supported expired strength complexity sent opened clicked submitted delivered bounced
    clicks opens bounces attempts failed
"""
# Before a plural, these words make a count: `activeUsers`.
COUNTED = "active daily weekly monthly unique distinct online concurrent new returning"
# Ways to send something, which say nothing about a person: `shareViaEmail`. But `createdByEmail` is
# the creator's.
WAYS = "email mail sms phone whatsapp telephone"
SENT_BY = """
    share shared notify notified contact contacted send sent deliver delivered remind verify confirm
    login
"""
# Names of a digest, which is as private as its input. This is a regular expression for keys without
# their digits, so `sha` also stands for `sha256`.
DIGEST = (
    "hash(?:e[sd])?|md|sha|hmac|digests?|encrypted|crypt|cipher(?:text)?|checksum|salted|pseudonym"
)
