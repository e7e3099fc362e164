package sample;

/** What a plug-in provides. */
public interface Speaker {
    String say(String text);
}
